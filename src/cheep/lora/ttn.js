// SPDX-License-Identifier: MIT
// Cheep's payload formatter for The Things Network (uplink, custom JavaScript). It reads what a payload says; whether it is
// true, `cheep lora decode` proves with the device's key, which does not belong here.
function decodeUplink(input) {
  var bytes = input.bytes;
  function number(at, n) {
    var value = 0;
    for (var i = 0; i < n; i++) value = value * 256 + bytes[at + i];
    return value;
  }
  function hex(at, n) {
    var text = "";
    for (var i = 0; i < n; i++) text += ("0" + bytes[at + i].toString(16)).slice(-2);
    return text;
  }
  if (bytes.length !== 32) return { errors: [bytes.length + " bytes: a payload has 32"] };
  var version = bytes[0] >> 4, flags = bytes[0] & 15;
  if (version !== 1) return { errors: ["version " + version + ": this script reads version 1"] };
  if (flags & ~3) return { errors: ["flags 0x" + flags.toString(16) + ": version 1 has only 0x3"] };
  var score = number(18, 3);
  if (score >= 8388608) score -= 16777216;
  var data = { device: hex(1, 4), counter: number(5, 4) };
  data[flags & 1 ? "seconds_since_start" : "utc_s"] = number(9, 4);
  data.label = bytes[13];
  data.model = hex(14, 4);
  data[flags & 2 ? "logit" : "score"] = score / (flags & 2 ? 1000 : 1000000);
  data.duration_s = number(21, 2) / 10;
  data.battery_v = bytes[23] ? (bytes[23] * 20) / 1000 : null;
  return { data: data, warnings: ["not proved: cheep lora decode checks the tag"] };
}
