/* SPDX-License-Identifier: MIT */
// TensorFlow Lite Micro behind cheep_model.h. The only C++ of the core; built where CHEEP_BACKEND_TFLM is defined.
#if defined(CHEEP_BACKEND_TFLM)

#include <cstring>
#include <new>

#include "cheep_model.h"
#include "cheep_model_check.h"
#include "cheep_text.h"

#include <generated/model.h>

// esp-tflite-micro stops, or writes where it must not, on what these layers are.
#if defined(CHEEP_TFLM_ESP) && defined(CHEEP_MODEL_REFUSED_BY_TFLM_ESP)
#error "model.h: this network must not run in TFLM on ESP boards: use an environment with the network compiled (cheep compile)"
#endif
#if defined(CHEEP_TFLM_ESP32S3) && defined(CHEEP_MODEL_REFUSED_BY_TFLM_ESP32S3)
#error "model.h: this network must not run in TFLM on an ESP32-S3: use environment esp32s3 (cheep compile)"
#endif

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

// The arena that model.h asks for was measured on a 64-bit machine with the reference kernels, which bounds a
// 32-bit one with the same; kernels that take scratch need more (CHEEP_MODEL_ARENA_BYTES_ESP32S3, _CMSIS_NN). A board that
// counts bytes may lower it to what its boot line reports as model_bytes.
#ifndef CHEEP_TFLM_ARENA_BYTES
#define CHEEP_TFLM_ARENA_BYTES CHEEP_MODEL_ARENA_BYTES
#endif

namespace {

using Resolver = tflite::MicroMutableOpResolver<CHEEP_MODEL_OPERATOR_COUNT>;

alignas(16) uint8_t arena[CHEEP_TFLM_ARENA_BYTES];
alignas(Resolver) uint8_t resolver_memory[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) uint8_t interpreter_memory[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter* interpreter = nullptr;
char error_text[CHEEP_MODEL_ERROR_BYTES] = "the model is not initialized";
// Between two windows: in the arena, an output's memory may be that of an input.
int8_t states[CHEEP_MODEL_STATE_BYTES + 1];

cheep_status refuse(const char* why, cheep_status status) {
  cheep_text text;
  cheep_text_init(&text, error_text, sizeof error_text);
  cheep_text_string(&text, why);
  interpreter = nullptr;
  return status;
}

uint32_t elements(const TfLiteTensor& tensor) {
  uint32_t n = 1;
  for (int i = 0; i < tensor.dims->size; i++) n *= static_cast<uint32_t>(tensor.dims->data[i]);
  return n;
}

constexpr cheep_model_facts kExpected = CHEEP_MODEL_FACTS;

cheep_status prepare() {
  cheep_status status = cheep_model_check_data(&kExpected, cheep_model_data, cheep_model_data_bytes, error_text);
  if (status != CHEEP_OK) return status;

  const tflite::Model* model = tflite::GetModel(cheep_model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    return refuse("this TensorFlow Lite Micro reads another version of the model format", CHEEP_ERROR_MODEL);
  }
  auto* resolver = new (resolver_memory) Resolver;
#define CHEEP_ADD(name)                                                               \
  if (resolver->Add##name() != kTfLiteOk) {                                           \
    return refuse("operator " #name " cannot be registered", CHEEP_ERROR_MODEL);      \
  }
#define CHEEP_ADD_INT8(name, registration)                                            \
  if (resolver->Add##name(tflite::Register_##registration()) != kTfLiteOk) {          \
    return refuse("operator " #name " cannot be registered", CHEEP_ERROR_MODEL);      \
  }
  CHEEP_MODEL_OPERATORS(CHEEP_ADD, CHEEP_ADD_INT8)
#undef CHEEP_ADD_INT8
#undef CHEEP_ADD

  interpreter = new (interpreter_memory) tflite::MicroInterpreter(model, *resolver, arena, sizeof arena);
  if (interpreter->initialization_status() != kTfLiteOk) {
    return refuse("TensorFlow Lite Micro cannot read the model", CHEEP_ERROR_MODEL);
  }
  if (interpreter->AllocateTensors() != kTfLiteOk) {
    return refuse("the arena is too small or an operator refuses its tensors (CHEEP_TFLM_ARENA_BYTES)",
                  CHEEP_ERROR_MEMORY);
  }
  const TfLiteTensor* input = interpreter->input(0);
  const TfLiteTensor* output = interpreter->output(0);
  if (interpreter->inputs_size() != 1 + CHEEP_MODEL_STATES || interpreter->outputs_size() != 1 + CHEEP_MODEL_STATES) {
    return refuse("inputs and outputs of the model are not those of model.h", CHEEP_ERROR_MISMATCH);
  }
  size_t state_bytes = 0;
  for (int i = 1; i <= CHEEP_MODEL_STATES; i++) {
    const TfLiteTensor* in = interpreter->input(i);
    const TfLiteTensor* out = interpreter->output(i);
    if (in->type != kTfLiteInt8 || out->type != kTfLiteInt8 || in->bytes != out->bytes ||
        in->params.scale != out->params.scale || in->params.zero_point != out->params.zero_point) {
      return refuse("a state of the model does not leave it as it enters", CHEEP_ERROR_MISMATCH);
    }
    state_bytes += in->bytes;
  }
  if (state_bytes != CHEEP_MODEL_STATE_BYTES) {
    return refuse("the states of the model are not of the size in model.h", CHEEP_ERROR_MISMATCH);
  }
  cheep_model_facts found = kExpected;
  found.is_int8 = input->type == kTfLiteInt8 && output->type == kTfLiteInt8;
  found.input_elements = elements(*input);
  found.output_elements = elements(*output);
  found.input_scale = input->params.scale;
  found.output_scale = output->params.scale;
  found.input_zero_point = input->params.zero_point;
  found.output_zero_point = output->params.zero_point;
  status = cheep_model_check_tensors(&kExpected, &found, error_text);
  if (status != CHEEP_OK) interpreter = nullptr;
  return status;
}

}  // namespace

extern "C" cheep_status cheep_model_init(void) {
  const cheep_status status = prepare();
  if (status == CHEEP_OK) cheep_model_forget();
  return status;
}

extern "C" void cheep_model_forget(void) {
  int8_t* at = states;
  for (int i = 1; i <= CHEEP_MODEL_STATES && interpreter != nullptr; i++) {
    std::memset(at, interpreter->input(i)->params.zero_point, interpreter->input(i)->bytes);
    at += interpreter->input(i)->bytes;
  }
}

extern "C" cheep_status cheep_model_invoke(const int8_t* window, int8_t* scores) {
  if (interpreter == nullptr) return CHEEP_ERROR_MODEL;
  std::memcpy(interpreter->input(0)->data.int8, window, CHEEP_MODEL_FRAMES * CHEEP_MODEL_MELS);
  const int8_t* from = states;
  for (int i = 1; i <= CHEEP_MODEL_STATES; i++) {
    std::memcpy(interpreter->input(i)->data.int8, from, interpreter->input(i)->bytes);
    from += interpreter->input(i)->bytes;
  }
  if (interpreter->Invoke() != kTfLiteOk) {
    return refuse("TensorFlow Lite Micro failed while running the model", CHEEP_ERROR_MODEL);
  }
  std::memcpy(scores, interpreter->output(0)->data.int8, CHEEP_MODEL_CLASSES);
  int8_t* to = states;
  for (int i = 1; i <= CHEEP_MODEL_STATES; i++) {
    std::memcpy(to, interpreter->output(i)->data.int8, interpreter->output(i)->bytes);
    to += interpreter->output(i)->bytes;
  }
  return CHEEP_OK;
}

extern "C" const cheep_model_columns* cheep_model_by_columns(void) { return nullptr; }

extern "C" size_t cheep_model_memory_bytes(void) {
  return interpreter == nullptr ? 0 : interpreter->arena_used_bytes();
}

extern "C" const char* cheep_model_error(void) { return error_text; }

#endif  // CHEEP_BACKEND_TFLM
