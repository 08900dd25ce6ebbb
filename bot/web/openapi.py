"""The interface in OpenAPI 3.1, as it is served and tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.commands.answer import Status

if TYPE_CHECKING:
    from bot.commands.answer import Json
    from bot.web.pictures import PictureLimits

_GAME: Json = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
}
_PROBABILITY: Json = {"type": "number", "minimum": 0, "maximum": 1}
_LIKELIHOOD: Json = {
    "type": "object",
    "required": ["game", "confidence"],
    "properties": {"game": {"$ref": "#/components/schemas/Game"}, "confidence": _PROBABILITY},
}
_ERROR: Json = {
    "type": "object",
    "required": ["success", "error"],
    "properties": {
        "success": {"const": False},
        "error": {"type": "string", "minLength": 1, "description": "One sentence: what is wrong, what to do."},
    },
}
_PREDICTIONS: Json = {
    "type": "object",
    "required": ["predictions", "success", "game", "model"],
    "properties": {
        "success": {"const": True},
        "predictions": {
            "type": "array",
            "description": "Every game that the model knows, likeliest first.",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["label", "probability"],
                "properties": {"label": {"type": "string"}, "probability": _PROBABILITY},
            },
        },
        "game": {
            "$ref": "#/components/schemas/Game",
            "description": "The answer: the likeliest game, or `unknown` where the picture looks like none of them.",
        },
        "model": {"type": "string", "description": "Version of the model that answered."},
    },
}
_HEALTH: Json = {
    "type": "object",
    "required": ["success", "parts"],
    "properties": {
        "success": {"type": "boolean"},
        "parts": {
            "type": "object",
            "description": 'Each part with "ok", or with what is wrong.',
            "additionalProperties": {"type": "string"},
        },
    },
}


def _answer() -> Json:
    """As :func:`bot.commands.answer.to_json` has it."""
    statuses: list[Json] = [status.value for status in Status]
    or_null: dict[str, Json] = {"type": "null"}
    likelihoods: Json = {"type": "array", "items": {"$ref": "#/components/schemas/Likelihood"}}
    number: Json = {"type": ["number", "null"]}
    return {
        "type": "object",
        "required": ["success", "text", "channel", "status", "game", "confidence"],
        "properties": {
            "success": {"const": True},
            "text": {"type": "string", "description": "The answer in a sentence, as a chat has it."},
            "channel": {"type": "string"},
            "status": {"enum": statuses},
            "game": {"oneOf": [{"$ref": "#/components/schemas/Game"}, or_null]},
            "confidence": {"oneOf": [_PROBABILITY, or_null]},
            "best": {"oneOf": [{"$ref": "#/components/schemas/Likelihood"}, or_null]},
            "runners_up": likelihoods,
            "votes": {"type": ["integer", "null"]},
            "frames": {"type": "array", "items": {"type": "object"}},
            "score": number,
            "novelty": number,
            "model": {"type": ["string", "null"]},
            "elapsed_ms": {"type": "object", "additionalProperties": {"type": "number"}},
            "bytes": {"type": "integer", "minimum": 0},
            "adverts": {"type": "integer", "minimum": 0},
            "age_s": {"type": "number", "minimum": 0},
            "declared": {"type": ["string", "null"]},
        },
    }


def description(*, version: str, picture: PictureLimits) -> dict[str, Json]:
    """The whole document.

    Args:
        version: of the bot.
        picture: how large one may be, to be stated.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GameSpotter",
            "version": version,
            "description": "Tells which game a live stream, or a picture of one, is really showing.",
        },
        "paths": {
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether the chats are connected, and the database and the model answer.",
                    "responses": {
                        "200": _json("Everything does.", "Health"),
                        "503": _json("Some part does not; it is named.", "Health"),
                    },
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Figures, as Prometheus reads them.",
                    "responses": {
                        "200": {
                            "description": "All figures.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        }
                    },
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "description",
                    "summary": "This document.",
                    "responses": {
                        "200": {
                            "description": "OpenAPI 3.1.",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
            "/v1/classify": {
                "post": {
                    "operationId": "classify",
                    "summary": "Which game a picture shows.",
                    "security": [{"token": []}],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "multipart/form-data": {
                                "schema": {
                                    "type": "object",
                                    "required": ["img"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "img": {
                                            "type": "string",
                                            "contentMediaType": "image/*",
                                            "format": "binary",
                                            "description": (
                                                "A JPEG, PNG or WebP picture of at most "
                                                f"{picture.file_bytes:,} bytes and {picture.pixels:,} pixels."
                                            ),
                                        }
                                    },
                                },
                                "encoding": {"img": {"contentType": "image/jpeg, image/png, image/webp"}},
                            }
                        },
                    },
                    "responses": {
                        "200": _json("The likeliest games.", "Predictions"),
                        **_errors(400, 401, 408, 413, 415, 422, 429, 500, 503),
                    },
                }
            },
            "/v1/game": {
                "post": {
                    "operationId": "game",
                    "summary": "Which game a channel shows.",
                    "security": [{"token": []}],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["channel"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "channel": {
                                            "type": "string",
                                            "minLength": 1,
                                            "maxLength": 200,
                                            "description": "A channel's name or address.",
                                        }
                                    },
                                }
                            }
                        },
                    },
                    "responses": {
                        "200": _json("What it shows, or why there is nothing to be seen: offline, say.", "Answer"),
                        **_errors(400, 401, 404, 408, 413, 415, 422, 429, 500, 502, 503, 504),
                    },
                }
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Game": _GAME,
                "Likelihood": _LIKELIHOOD,
                "Error": _ERROR,
                "Predictions": _PREDICTIONS,
                "Health": _HEALTH,
                "Answer": _answer(),
            },
        },
    }


_MEANINGS = {
    400: "The body cannot be read.",
    401: "The token is missing, or none of the operator's.",
    404: "There is no such channel.",
    408: "The body did not come in time.",
    413: "The body, or the picture in it, is too large.",
    415: "What was sent is of a kind that is not taken.",
    422: "What was sent can be read, and is not what is needed.",
    429: "The token's share is used up; Retry-After says for how long.",
    500: "A mistake of the bot's own.",
    502: "The platform does not answer.",
    503: "There is too much to do, the bot is being restarted, or the operator has set no token.",
    504: "The stream was too slow.",
}


def _json(meaning: str, schema: str) -> Json:
    content: Json = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": meaning, "content": content}


def _errors(*statuses: int) -> dict[str, Json]:
    return {str(status): _json(_MEANINGS[status], "Error") for status in statuses}
