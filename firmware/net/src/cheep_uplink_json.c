/* SPDX-License-Identifier: MIT */
/* The payloads of cheep_uplink.h: fields as Home Assistant's MQTT integration documents them. */
#include "cheep_text.h"
#include "cheep_uplink.h"

static void member(cheep_text *t, const char *name)
{
    cheep_text_char(t, t->length > 0u ? ',' : '{');
    cheep_text_json_string(t, name);
    cheep_text_char(t, ':');
}

static void text_member(cheep_text *t, const char *name, const char *value)
{
    member(t, name);
    cheep_text_json_string(t, value);
}

static void number_member(cheep_text *t, const char *name, uint64_t value)
{
    member(t, name);
    cheep_text_unsigned(t, value, 1);
}

static void fixed_member(cheep_text *t, const char *name, int64_t value, unsigned digits)
{
    member(t, name);
    cheep_text_fixed(t, value, digits);
}

/* Eight hexadecimal digits: an id, which no reader takes for a number. */
static void id_member(cheep_text *t, const char *name, uint32_t value)
{
    char digits[11];
    cheep_text hex;
    cheep_text_init(&hex, digits, sizeof digits);
    cheep_text_hex32(&hex, value);
    text_member(t, name, digits + 2);
}

void cheep_uplink_topic(const char *id, const char *leaf, char *topic)
{
    cheep_text t;
    cheep_text_init(&t, topic, CHEEP_UPLINK_TOPIC_BYTES);
    cheep_text_string(&t, "cheep/");
    cheep_text_string(&t, id);
    cheep_text_char(&t, '/');
    cheep_text_string(&t, leaf);
}

size_t cheep_uplink_event_json(const cheep_uplink_event *event, uint32_t queue, uint32_t number, char *json, size_t capacity)
{
    cheep_text t;
    cheep_text_init(&t, json, capacity);
    text_member(&t, "event_type", event->ended ? "end" : "start");
    text_member(&t, "label", event->label);
    fixed_member(&t, "start_s", (int64_t)event->start_ms, 3);
    fixed_member(&t, "end_s", (int64_t)event->end_ms, 3);
    fixed_member(&t, "score", event->score_e6, 6);
    if (event->has_logit) {
        fixed_member(&t, "logit", event->logit_e3, 3);
    }
    if (event->time_s != 0u) {
        number_member(&t, "time", event->time_s);
    }
    id_member(&t, "queue", queue);
    number_member(&t, "seq", number);
    cheep_text_char(&t, '}');
    return t.length;
}

size_t cheep_uplink_state_json(const cheep_uplink_state *state, const cheep_queue *queue, char *json, size_t capacity)
{
    cheep_text t;
    cheep_text_init(&t, json, capacity);
    text_member(&t, "hearing", state->hearing ? "ON" : "OFF");
    text_member(&t, "microphone", state->microphone);
    if (state->has_level) {
        fixed_member(&t, "level_db", state->level_e1, 1);
    }
    if (state->model[0] != '\0') {
        text_member(&t, "model", state->model);
    }
    number_member(&t, "waiting", queue->waiting);
    number_member(&t, "refused", queue->refused);
    cheep_text_char(&t, '}');
    return t.length;
}

/* An entity; its template and what else it has, as JSON members. */
typedef struct {
    const char *component, *object, *name, *leaf, *template, *members;
} entity;

/* A copy of an event has the numbers of the one before, or lower ones of the same queue: it renders as nothing, and Home
 * Assistant passes it over. */
#define ONCE                                                                                                           \
    "{% if this.attributes.queue is defined and this.attributes.queue == value_json.queue and "                        \
    "this.attributes.seq | int(0) >= value_json.seq %}{% else %}{{ value }}{% endif %}"

static const entity entities[] = {
    {"event", "heard", "Heard", "event", ONCE, "\"event_types\":[\"start\",\"end\"],\"icon\":\"mdi:bird\""},
    {"sensor", "last", "Last heard", "event", "{{ value_json.label }}", "\"icon\":\"mdi:bird\""},
    {"binary_sensor", "hearing", "Hearing", "state", "{{ value_json.hearing }}", "\"icon\":\"mdi:ear-hearing\""},
    {"binary_sensor", "microphone", "Microphone", "state",
     "{{ 'OFF' if value_json.microphone == 'heard' else 'ON' }}",
     "\"device_class\":\"problem\",\"entity_category\":\"diagnostic\""},
    {"sensor", "level", "Level", "state", "{{ value_json.level_db | default(None) }}",
     "\"unit_of_measurement\":\"dB\",\"state_class\":\"measurement\",\"entity_category\":\"diagnostic\""},
    {"sensor", "waiting", "Events waiting", "state", "{{ value_json.waiting }}",
     "\"state_class\":\"measurement\",\"entity_category\":\"diagnostic\""},
    {"sensor", "refused", "Events lost", "state", "{{ value_json.refused }}",
     "\"state_class\":\"total_increasing\",\"entity_category\":\"diagnostic\""},
};

static void device_members(cheep_text *t, const cheep_uplink_device *device, const char *unique)
{
    cheep_text_string(t, ",\"device\":{\"identifiers\":[");
    cheep_text_json_string(t, unique);
    cheep_text_string(t, "],\"name\":");
    cheep_text_json_string(t, device->name);
    cheep_text_string(t, ",\"manufacturer\":\"Cheep\",\"model\":");
    cheep_text_json_string(t, device->board);
    cheep_text_string(t, ",\"sw_version\":");
    cheep_text_json_string(t, device->version);
    cheep_text_string(t, "},\"origin\":{\"name\":\"Cheep\",\"sw_version\":");
    cheep_text_json_string(t, device->version);
    cheep_text_char(t, '}');
}

size_t cheep_uplink_discovery(const cheep_uplink_device *device, unsigned i, char *topic, char *json, size_t capacity)
{
    char unique[CHEEP_UPLINK_ID_BYTES + 24u];
    char state_topic[CHEEP_UPLINK_TOPIC_BYTES];
    cheep_text t;
    if (i >= sizeof entities / sizeof entities[0]) {
        return 0;
    }
    const entity *e = &entities[i];
    cheep_text_init(&t, topic, CHEEP_UPLINK_TOPIC_BYTES);
    cheep_text_string(&t, device->discovery);
    cheep_text_char(&t, '/');
    cheep_text_string(&t, e->component);
    cheep_text_string(&t, "/cheep_");
    cheep_text_string(&t, device->id);
    cheep_text_char(&t, '/');
    cheep_text_string(&t, e->object);
    cheep_text_string(&t, "/config");
    cheep_text_init(&t, unique, sizeof unique);
    cheep_text_string(&t, "cheep_");
    cheep_text_string(&t, device->id);
    const size_t device_id = t.length;
    cheep_text_char(&t, '_');
    cheep_text_string(&t, e->object);
    cheep_text_init(&t, json, capacity);
    text_member(&t, "name", e->name);
    text_member(&t, "unique_id", unique);
    unique[device_id] = '\0';
    cheep_uplink_topic(device->id, e->leaf, state_topic);
    text_member(&t, "state_topic", state_topic);
    text_member(&t, "value_template", e->template);
    cheep_uplink_topic(device->id, "availability", state_topic);
    text_member(&t, "availability_topic", state_topic);
    number_member(&t, "qos", 1);
    cheep_text_char(&t, ',');
    cheep_text_string(&t, e->members);
    device_members(&t, device, unique);
    cheep_text_char(&t, '}');
    return t.cut ? 0u : t.length;
}
