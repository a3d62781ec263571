# SPDX-License-Identifier: MIT
"""Events and state to an MQTT broker, with Home Assistant's discovery (docs/mqtt.md).

Queue, payloads and their order are the firmware's own C code (``firmware/net``); the connection is paho's.
"""
