"""A pocket Twitch on loopback: the endpoints a viewer needs, with live HLS made from small clips."""
