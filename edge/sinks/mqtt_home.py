"""What the `mqtt` sink publishes for Home Assistant, so that it shows the cue without settings of its own."""

from __future__ import annotations

import json

EXPIRES = 3  # refreshes of a cue that fail to come until Home Assistant does not show it any more


def discovery_message(prefix: str, topic: str, client_id: str, refresh: float) -> tuple[str, str]:
    """Return topic and payload of a sensor of what is published below `topic`, again every `refresh` seconds.

    MQTT discovery of Home Assistant: https://www.home-assistant.io/integrations/sensor.mqtt
    """
    sensor = {
        "name": "Cue",
        "unique_id": f"{client_id}_cue",
        "state_topic": f"{topic}/cue",
        "value_template": "{{ value_json.expression or value_json.state }}",
        "json_attributes_topic": f"{topic}/cue",
        "availability_topic": f"{topic}/status",
        "expire_after": round(EXPIRES * refresh),
        "icon": "mdi:emoticon-outline",
        "device": {"identifiers": [client_id], "name": "Cuelens"},
    }
    return f"{prefix}/sensor/{client_id}/cue/config", json.dumps(sensor)
