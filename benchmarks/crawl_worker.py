"""``python -m bot worker``, but that its frames are unlike all others."""

from __future__ import annotations

from crawl_as_we_do import UniqueFrames

import bot.app
from bot.__main__ import app

if __name__ == "__main__":
    bot.app.FolderFrameStore = UniqueFrames
    app()
