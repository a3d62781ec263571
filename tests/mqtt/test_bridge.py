# SPDX-License-Identifier: MIT
"""The laptop's bridge against a real mosquitto: events once each, discovery, TLS, logins."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import stat
import subprocess
import sys

import jinja2
import pytest

from cheep.cli import main
from cheep.errors import CheepError
from cheep.live.serial_lines import with_checksum
from cheep.mqtt.broker import PASSWORD, USER, Broker, read_broker
from cheep.mqtt.feed import AWAY_S, Feed, device_id
from cheep.mqtt.uplink import Device, Uplink, UplinkEvent, UplinkState
from mqtt_broker import MOSQUITTO, REASON, Line, Subscriber, wait_until
from mqtt_broker import Broker as Mosquitto
from tone_model import write_tone_run

pytest.importorskip("paho.mqtt", reason="requirements-mqtt.txt is optional")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=REASON)
GARDEN = Device("garden", 'Gärten "Ost"', "esp32")
SECRET = "sesame-4711"


def bridge(port, queue, say=lambda text: None, **broker):
    from cheep.mqtt.bridge import Bridge

    return Bridge(Broker("127.0.0.1", port, **{"tls": False, **broker}), GARDEN, queue, say, retry_s=(0.02, 0.05))


def to_broker(broker, name, folder):
    return ["--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--mqtt-name", name, "--mqtt-queue", str(folder / "q")]


def event(number, label="robin", ended=False):
    return UplinkEvent(label, ended, number, number + 0.5, 0.9, 2.197, 1764208000)


# What the queue and the payloads are, without a broker


class Sent:
    """A transport that takes all; acknowledges when told."""

    def __init__(self, folder, device=GARDEN, **options):
        self.messages = []
        self.uplink = Uplink(device, folder / "queue", self.publish, **options)

    def publish(self, topic, payload, qos, retain):
        self.messages.append((topic, payload.decode(), qos, retain))
        return len(self.messages)

    def deliver(self):
        while not self.uplink.idle:
            before = len(self.messages)
            self.uplink.acknowledged(before)
            assert len(self.messages) > before or self.uplink.idle


@pytest.fixture
def sent(tmp_path):
    made = Sent(tmp_path)
    yield made
    made.uplink.close()


def test_the_greeting_then_the_state_then_events_one_at_a_time(sent):
    sent.uplink.set(UplinkState(True, -51.26, "silent", "0123abcd"))
    sent.uplink.add(UplinkEvent('a "b"', True, 12.25, 13.2326, 0.9987314, -6.668, 1764208000))
    sent.uplink.add(UplinkEvent("c", False, 0, 0, 1.0))
    assert sent.messages == []
    sent.uplink.connected()
    assert len(sent.messages) == 1  # one at a time
    sent.uplink.acknowledged(77)  # of nobody
    assert len(sent.messages) == 1
    sent.deliver()
    queue = json.loads(sent.messages[-2][1])["queue"]
    assert sent.messages[7:] == [
        ("cheep/garden/availability", "online", 1, True),
        ("cheep/garden/state", '{"hearing":"ON","microphone":"silent","level_db":-51.3,"model":"0123abcd","waiting":2,'
         '"refused":0}', 1, True),
        ("cheep/garden/event", '{"event_type":"end","label":"a \\"b\\"","start_s":12.250,"end_s":13.233,'
         f'"score":0.998731,"logit":-6.668,"time":1764208000,"queue":"{queue}","seq":1}}', 1, False),
        ("cheep/garden/event", '{"event_type":"start","label":"c","start_s":0.000,"end_s":0.000,"score":1.000000,'
         f'"queue":"{queue}","seq":2}}', 1, False),
        ("cheep/garden/state", '{"hearing":"ON","microphone":"silent","level_db":-51.3,"model":"0123abcd","waiting":0,'
         '"refused":0}', 1, True),
    ]  # fmt: skip


def test_what_was_not_acknowledged_comes_again_with_its_number(tmp_path):
    first = Sent(tmp_path)
    for number in range(40):
        first.uplink.add(event(number))
    first.uplink.connected()
    for message in range(1, 8 + 1 + 1 + 5):  # greeting, state, four events; the fifth is on its way
        first.uplink.acknowledged(message)
    assert first.uplink.waiting == 35
    first.uplink.close()
    again = Sent(tmp_path)
    assert again.uplink.waiting == 35 and again.uplink.next_number == 41
    again.uplink.connected()
    again.deliver()
    numbers = [json.loads(text)["seq"] for topic, text, *_ in again.messages if topic.endswith("/event")]
    assert numbers == list(range(6, 41))
    again.uplink.close()


def test_a_full_queue_refuses_counts_and_keeps_what_it_has(tmp_path):
    small = Sent(tmp_path, sectors=3)
    taken = [small.uplink.add(event(number)) for number in range(100)]
    assert taken == [True] * 93 + [False] * 7 and small.uplink.refused == 7
    small.uplink.connected()
    small.deliver()
    assert small.uplink.add(event(100))
    assert '"refused":7' in small.messages[-2][1]
    small.uplink.close()


def test_long_labels_are_cut_between_characters(sent):
    sent.uplink.connected()
    sent.uplink.add(event(1, "x" + "ä" * 40))
    sent.uplink.add(event(2, '\x01"' * 40))
    sent.deliver()
    labels = [json.loads(text)["label"] for topic, text, *_ in sent.messages if topic.endswith("/event")]
    assert labels == ["x" + "ä" * 31, '\x01"' * 32]


def test_one_queue_one_program_and_only_its_owner_reads_it(tmp_path, sent):
    assert stat.S_IMODE((tmp_path / "queue").stat().st_mode) == 0o600
    script = (
        "import sys; from pathlib import Path; from cheep.mqtt.uplink import Device, Uplink\n"
        "Uplink(Device('a', 'a', 'b'), Path(sys.argv[1]), print)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "queue"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert other.returncode and "is being worked on by process" in other.stderr


@pytest.mark.parametrize("name", ["", "Ä", "x" * 80])
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(CheepError, match="--mqtt-name"):
        Sent(tmp_path, Device(device_id(name), name, "esp32"))


# Discovery: fields as Home Assistant documents them for MQTT entities. (Its own schemas, of the package homeassistant
# 2024.3.3, have accepted these messages without dropping a field, and its template engine gives what is tested here.)
COMMON = {
    "name", "unique_id", "state_topic", "value_template", "availability_topic", "qos", "icon", "device", "origin",
    "entity_category", "device_class",
}  # fmt: skip
DOCUMENTED = {
    "event": COMMON | {"event_types"},
    "sensor": COMMON | {"unit_of_measurement", "state_class"},
    "binary_sensor": COMMON,
}
CLASSES = {"binary_sensor": {"problem"}}
STATES = {"measurement", "total", "total_increasing"}


def discovery(sent):
    sent.uplink.connected()
    sent.deliver()
    return {topic: json.loads(text) for topic, text, _, retain in sent.messages if topic.startswith("homeassistant/")}


def test_discovery_messages_are_what_home_assistant_documents(sent):
    found = discovery(sent)
    assert len(found) == 7 and len({item["unique_id"] for item in found.values()}) == 7
    for topic, item in found.items():
        prefix, component, node, thing, last = topic.split("/")
        assert (prefix, node, last) == ("homeassistant", "cheep_garden", "config")
        assert item["unique_id"] == f"cheep_garden_{thing}"
        assert set(item) <= DOCUMENTED[component]
        assert {"name", "state_topic", "device", "origin"} <= set(item)
        assert item.get("device_class") in {None} | CLASSES.get(component, set())
        assert item.get("state_class") in {None} | STATES
        assert item.get("entity_category") in {None, "diagnostic"}
        assert item["device"] == {
            "identifiers": ["cheep_garden"], "name": GARDEN.name, "manufacturer": "Cheep", "model": "esp32",
            "sw_version": item["origin"]["sw_version"],
        }  # fmt: skip
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(item["value_template"])
    assert found["homeassistant/event/cheep_garden/heard/config"]["event_types"] == ["start", "end"]


def test_home_assistant_sees_an_event_once(sent):
    template = discovery(sent)["homeassistant/event/cheep_garden/heard/config"]["value_template"]

    def rendered(event, **attributes):
        value = json.dumps(event)
        made = jinja2.Environment().from_string(template)
        return made.render(value=value, value_json=event, this={"attributes": attributes}) == value

    assert rendered({"queue": "a1", "seq": 1})  # nothing before
    assert rendered({"queue": "a1", "seq": 6}, queue="a1", seq=5)
    assert not rendered({"queue": "a1", "seq": 5}, queue="a1", seq=5)
    assert not rendered({"queue": "a1", "seq": 4}, queue="a1", seq=5)
    assert rendered({"queue": "b2", "seq": 1}, queue="a1", seq=5)  # another queue: its numbers begin anew


def test_states_render(sent):
    found = discovery(sent)

    def shown(component, thing, state):
        item = found[f"homeassistant/{component}/cheep_garden/{thing}/config"]
        return jinja2.Environment().from_string(item["value_template"]).render(value_json=state)

    state = json.loads([text for topic, text, *_ in sent.messages if topic.endswith("/state")][-1])
    assert shown("binary_sensor", "hearing", state) == "OFF"
    assert shown("binary_sensor", "microphone", state) == "OFF"
    assert shown("binary_sensor", "microphone", {"microphone": "silent"}) == "ON"
    assert shown("sensor", "level", state) == "None"  # which is "unknown" there
    assert shown("sensor", "level", {"level_db": -51.2}) == "-51.2"
    assert shown("sensor", "waiting", state) == shown("sensor", "refused", state) == "0"


# What a board says


def test_a_boards_lines_become_events_and_states():
    class Sink:
        def __init__(self):
            self.said = []

        def add(self, event):
            self.said.append(event)
            return len(self.said) < 6

        def set(self, state):
            self.said.append(state)

    now = [0.0]
    lost = []
    sink = Sink()
    feed = Feed(sink, lost.append, wall=lambda: 7.9, clock=lambda: now[0])
    line = {"type": "event", "state": "start", "label": "robin", "start_s": 1.0, "end_s": 2.0, "score": 0.5}
    feed.message({"type": "boot", "model": "0123abcd99"})
    feed.message(line)
    feed.message({**line, "state": "end", "logit": 1.5})
    feed.message({**line, "label": None})  # of an odd firmware
    feed.message({"type": "stats", "level_db": -50.0})
    now[0] = AWAY_S + 1
    feed.tick()
    feed.tick()
    feed.message(line)
    assert sink.said == [
        UplinkState(), UplinkState(model="0123abcd"), UplinkEvent("robin", False, 1.0, 2.0, 0.5, None, 7),
        UplinkState(True, model="0123abcd"), UplinkEvent("robin", True, 1.0, 2.0, 0.5, 1.5, 7),
        UplinkState(False, model="0123abcd"), UplinkState(False, -50.0, model="0123abcd"),
        UplinkState(False, -50.0, "away", "0123abcd"), UplinkState(False, -50.0, model="0123abcd"),
        UplinkEvent("robin", False, 1.0, 2.0, 0.5, None, 7), UplinkState(True, -50.0, model="0123abcd"),
    ]  # fmt: skip
    assert lost == [UplinkEvent("robin", False, 1.0, 2.0, 0.5, None, 7)]


# Addresses and logins


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mqtt://me:{SECRET}@host", "holds a password"),
        (f"http://me@{SECRET.replace('-', '.')}", "must be mqtt://HOST"),
        ("mqtt://", "must be mqtt://HOST"),
        ("mqtt://host:99999", "is no address"),
        ("mqtt://host/topic", "must be mqtt://HOST"),
    ],
)
def test_addresses_that_are_none(url, words):
    with pytest.raises(CheepError, match=words) as error:
        read_broker(url)
    assert SECRET not in str(error.value)


def test_logins_from_a_file_that_only_its_owner_reads(tmp_path, monkeypatch):
    file = tmp_path / "login"
    file.write_text(f"me\n{SECRET}\n")
    file.chmod(0o640)
    with pytest.raises(CheepError, match=r"others can read it \(mode 640\); chmod 600"):
        read_broker("mqtt://host", login=file)
    file.chmod(0o600)
    broker = read_broker("mqtt://host", login=file)
    assert (broker.user, broker.password, broker.port, broker.exposed) == ("me", SECRET, 1883, True)
    assert SECRET not in repr(broker) and SECRET not in broker.address
    file.write_text(f"me:{SECRET}")
    with pytest.raises(CheepError, match="has 1 line") as error:
        read_broker("mqtt://host", login=file)
    assert SECRET not in str(error.value)
    monkeypatch.setenv(USER, "you")
    monkeypatch.setenv(PASSWORD, "word")
    assert (read_broker("mqtts://host").user, read_broker("mqtts://host").port) == ("you", 8883)
    with pytest.raises(CheepError, match="mqtts://"):
        read_broker("mqtt://host", ca=file)


# Against mosquitto


@needs_broker
def test_events_arrive_once_each_through_outages_and_cut_lines(tmp_path):
    said = []
    with Mosquitto(tmp_path / "broker") as broker:
        subscriber = Subscriber(broker.port)
        line = Line(broker.port)
        made = bridge(line.port, tmp_path / "queue", said.append)
        for number in range(60):
            made.add(event(number))
            if number % 12 == 3:
                line.cut_after(150 * (number % 7 + 1))
            if number in (20, 40):
                broker.stop()
                made.add(event(1000 + number))
                broker.start()
        assert made.drain(30)
        wait_until(lambda: len(subscriber.once) >= 62, what="62 events")
        assert made.close() == 0
        wait_until(lambda: subscriber.payloads("cheep/garden/availability")[-1] == "offline")
        subscriber.close()
        line.close()
    assert [item["seq"] for item in subscriber.once] == list(range(1, 63))
    assert line.cuts > 1 and sum("not reached" in text for text in said) >= 2


@needs_broker
def test_the_last_will_says_that_the_bridge_has_died(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker:
        subscriber, line = Subscriber(broker.port), Line(broker.port)
        made = bridge(line.port, tmp_path / "queue")
        assert made.drain(20)  # nothing waits; that does not say that it is connected
        wait_until(lambda: subscriber.payloads("cheep/garden/availability")[-1:] == ["online"])
        line.close()  # cut, and for good
        wait_until(lambda: subscriber.payloads("cheep/garden/availability")[-1:] == ["offline"])
        made.close()
        subscriber.close()


def certificate(folder, name, issuer=None, host=None):
    """Write ``name.pem`` and ``name.key``; return (certificate, key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )  # fmt: skip
    if host:
        built = built.add_extension(x509.SubjectAlternativeName([host]), critical=False)
    made = built.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


@needs_broker
def test_tls_takes_the_right_certificate_and_no_other(tmp_path):
    x509 = pytest.importorskip("cryptography.x509", reason="requirements-dev.txt: moto brings it")
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "other")
    certificate(tmp_path, "good", authority, here)
    certificate(tmp_path, "elsewhere", authority, x509.DNSName("elsewhere.example"))
    for name in ("good", "elsewhere"):
        options = f"certfile {tmp_path}/{name}.pem\nkeyfile {tmp_path}/{name}.key\n"
        with Mosquitto(tmp_path / f"broker-{name}", options) as broker:

            def connect(ca, broker=broker):
                return bridge(broker.port, tmp_path / "queue", tls=True, ca=ca)

            with pytest.raises(CheepError, match="its certificate is refused"):
                connect(tmp_path / "other.pem")
            with pytest.raises(CheepError, match="its certificate is refused"):
                connect(None)
            with pytest.raises(CheepError, match="holds no CA certificate"):
                connect(tmp_path / "good.key")
            if name == "elsewhere":
                with pytest.raises(CheepError, match="its certificate is refused"):
                    connect(tmp_path / "authority.pem")
                continue
            made = connect(tmp_path / "authority.pem")
            made.add(event(1))
            assert made.drain(20)
            made.close()


@needs_broker
def test_a_login_is_needed_and_its_password_is_nowhere(tmp_path, capfd, monkeypatch):
    tool = shutil.which("mosquitto_passwd")
    subprocess.run([tool, "-b", "-c", tmp_path / "passwords", "me", SECRET], check=True)
    options = f"allow_anonymous false\npassword_file {tmp_path}/passwords\n"
    run = write_tone_run(tmp_path / "run")
    lines = b"".join(
        with_checksum(item) for item in (
            {"type": "boot", "board": "esp32", "model": "0123abcd"},
            {"type": "event", "state": "start", "label": "robin", "start_s": 1.0, "end_s": 2.0, "score": 0.5},
        )
    )  # fmt: skip
    with Mosquitto(tmp_path / "broker", options) as broker:
        subscriber = Subscriber(broker.port, user="me", password=SECRET)
        where = to_broker(broker, "Garden", tmp_path)
        login = tmp_path / "login"
        login.write_text("me\nwrong\n")
        login.chmod(0o600)
        read, write = os.pipe()
        os.write(write, lines)
        os.close(write)
        monkeypatch.setattr("sys.stdin", os.fdopen(read))  # still to be read when the login was wrong
        assert main("monitor", ["-", *where, "--mqtt-login", str(login)]) == 2
        assert "refuses the connection" in capfd.readouterr().err
        login.write_text(f"me\n{SECRET}\n")
        log = tmp_path / "log.jsonl"
        assert main("monitor", ["-", *where, "--mqtt-login", str(login), "--jsonl", str(log), "--model", str(run)]) == 0
        wait_until(lambda: len(subscriber.once) == 1)
        assert subscriber.once[0]["label"] == "robin"
        subscriber.close()
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    for path in (tmp_path / "q", log, *run.rglob("*"), tmp_path / "broker" / "mosquitto.log"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@needs_broker
def test_listening_on_this_machine_tells_the_broker(tmp_path, capsys):
    import soundfile

    from tone_model import LABELS, tones

    run = write_tone_run(tmp_path / "run")
    soundfile.write(tmp_path / "a.wav", tones([(3, 5, LABELS[-1]), (8, 9.5, LABELS[-1])], 12), 8000, subtype="PCM_16")
    with Mosquitto(tmp_path / "broker") as broker:
        subscriber = Subscriber(broker.port)
        command = ["--model", str(run), "--wav", str(tmp_path / "a.wav"), "--speed", "0", "--json-lines"]
        where = to_broker(broker, "Desk", tmp_path)
        assert main("listen", [*command, *where]) == 0
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert printed
        wait_until(lambda: len(subscriber.once) >= len(printed))
        subscriber.close()
    assert [(item["event_type"], item["label"]) for item in subscriber.once] == [
        (item["state"], item["label"]) for item in printed
    ]
    assert json.loads(subscriber.payloads("cheep/desk/state")[-1])["hearing"] == "OFF"


def test_a_broker_that_is_away_is_no_error_and_events_wait(tmp_path):
    said = []
    made = bridge(1, tmp_path / "queue", said.append)
    made.add(event(1))
    assert made.close() == 1 and "not reached" in said[0]


def test_options_that_say_nothing_alone(capsys):
    assert main("monitor", ["-", "--mqtt-name", "x"]) == 2
    assert "--mqtt-name: says nothing without --mqtt" in capsys.readouterr().err
    assert main("listen", ["--web", "--mqtt", "mqtt://host"]) == 2
