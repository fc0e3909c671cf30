"""What ADD prints."""

from __future__ import annotations

from podwire.cni import document
from podwire.cni.result import encode_result
from podwire.datapath.wiring import Wiring, result
from podwire.plugin.config import Configuration


def add_answer(config: Configuration, wiring: Wiring, gateway_mac: str) -> bytes:
    """The result of ADD in the configuration's version; a previous result of the chain comes first."""
    own = result(wiring, gateway_mac, config.dns)
    whole = config.prev_result.joined(own) if config.prev_result else own
    return document.dump(encode_result(whole, config.version))
