/* Runs the network it was compiled with, on a device that needs nothing for it: `program request.json`. Answers inputs, or times
   one inference. What it says is one JSON document between two marks that carry the request's nonce. Exit status 3: the document
   says what went wrong. harness/runners/reply.py is the other end and documents every field; python_runner.py keeps the same
   contract for devices that have Python. By hand, beside the C of a network:
       cc -O3 -std=gnu11 -static -I program program/?*.c model.c -lm -pthread -o runner */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "instructions.h"
#include "json.h"
#include "machine.h"
#include "network.h"
#include "reply.h"
#include "samples.h"

#define PROFILED_RUNS 100 /* inferences that are profiled, or as many as fit into PROFILED_S seconds, but one at least */
#define PROFILED_S 5.0

typedef struct {
    const json *fields, *inputs, *outputs;
    int is_batched, batch;
    FILE *reply;
} request;

static json *read_json(const char *name, const void *content, size_t bytes) {
    if (bytes > JSON_MAX_BYTES) fail("ValueError", "%s: %zu bytes of JSON; the most is %u", name, bytes, JSON_MAX_BYTES);
    json *values = malloc(JSON_MAX_VALUES * sizeof *values); /* not calloc: what no value needs is never touched */
    char *text = malloc(bytes);
    if (!values || !text) fail("MemoryError", "no memory for %zu bytes of JSON", bytes);
    json_read(name, memcpy(text, content, bytes), bytes, values);
    if (values->kind != JSON_OBJECT) fail("ValueError", "%s: not a JSON object", name);
    return values;
}

/* Begins the reply as soon as it is known whom to answer; what is wrong from then on is in a document. */
static request read_request(const char *path) {
    file mapped = file_map(path);
    request asked = {.fields = read_json(path, mapped.content, mapped.bytes)};
    const char *nonce = json_string(asked.fields, "nonce");
    if (strspn(nonce, "0123456789abcdef") != strlen(nonce) || !*nonce || strlen(nonce) > 64) fail("ValueError", "the nonce is not of hexadecimal digits");
    asked.reply = reply_begin(nonce, json_string(asked.fields, "mode"));
    if (json_int(asked.fields, "schema", 0) != REPLY_SCHEMA) fail("ValueError", "requests of schema %d are read here", REPLY_SCHEMA);
    asked.inputs = json_member(asked.fields, "inputs", JSON_ARRAY);
    asked.outputs = json_member(asked.fields, "outputs", JSON_ARRAY);
    asked.is_batched = json_bool(asked.fields, "batched");
    asked.batch = asked.is_batched ? json_int(asked.fields, "batch", 1) : 0;
    if (asked.inputs->count != asked.outputs->count || !asked.inputs->count) fail("ValueError", "not one file of outputs for each of inputs");
    return asked;
}

static const char *input_path(const request *asked, unsigned index) {
    return json_item(asked->inputs, index, JSON_STRING)->text;
}

static const char *output_path(const request *asked, unsigned index) {
    return json_item(asked->outputs, index, JSON_STRING)->text;
}

/* The path of the artifact's second file, which holds the weights; NULL where there is none. */
static const char *weights_path(const request *asked) {
    const json *files = json_member(asked->fields, "files", JSON_ARRAY);
    if (files->count < 2) return NULL;
    const char *folder = json_string(asked->fields, "folder"), *name = json_item(files, 1, JSON_STRING)->text;
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = malloc(room);
    if (!path) fail("MemoryError", "no memory for a path");
    snprintf(path, room, "%s/%s", folder, name);
    return path;
}

/* Resident before and after the network was opened, in bytes; -1 where unknown. */
typedef struct {
    int64_t before, after;
} memory;

static void put_bytes(FILE *to, const char *name, int64_t bytes) {
    fprintf(to, "\"%s\":", name);
    if (bytes < 0) fputs("null", to);
    else fprintf(to, "%lld", (long long)bytes);
}

/* Said before outputs are written, which takes memory, too. */
static void put_memory(FILE *to, memory resident) {
    fputs(",\"memory\":{", to);
    put_bytes(to, "rss_before_load_bytes", resident.before);
    putc(',', to);
    put_bytes(to, "rss_after_load_bytes", resident.after);
    putc(',', to);
    put_bytes(to, "peak_rss_bytes", memory_bytes("VmHWM"));
    putc('}', to);
}

/* Opens the network, and says what there is to say of it. */
static memory open_network(const request *asked, FILE *to) {
    int threads = json_int(json_member(asked->fields, "options", JSON_OBJECT), "threads", 1);
    const char *weights = weights_path(asked);
    memory resident = {.before = memory_bytes("VmRSS")};
    uint64_t begin = now_ns();
    network_open(weights, threads);
    uint64_t end = now_ns();
    resident.after = memory_bytes("VmRSS");
    if (asked->is_batched) network_check_batch(asked->batch);
    free(read_json("model_facts", model_facts, strlen(model_facts))); /* so that a document with them in it is JSON */
    double step_s = clock_step_s(), load_s = (double)(end - begin) / 1e9;
    fputs(",\"load_s\":", to);
    put_number(to, load_s > step_s ? load_s : step_s);
    fputs(",\"clock\":{\"name\":\"CLOCK_MONOTONIC\",\"step_s\":", to);
    put_number(to, step_s);
    fprintf(to, "},\"facts\":%s,\"versions\":{},\"runner\":{\"implementation\":\"C\",\"version\":", model_facts);
    put_string(to, __VERSION__);
    putc('}', to);
    return resident;
}

/* Writes an outputs file and describes it, so that the host knows what it will read. */
static void put_outputs(FILE *to, const char *path, const npz_array *arrays) {
    size_t bytes = npz_write(path, arrays, model_output_count);
    fputs("{\"file\":", to);
    put_string(to, path);
    fprintf(to, ",\"size_bytes\":%zu,\"tensors\":[", bytes);
    for (int i = 0; i < model_output_count; i++) {
        const model_tensor *tensor = &model_outputs[i];
        fputs(i ? ",{\"shape\":[" : "{\"shape\":[", to);
        for (int axis = 0; axis < arrays[i].rank; axis++) fprintf(to, axis ? ",%lld" : "%lld", (long long)arrays[i].shape[axis]);
        fprintf(to, "],\"dtype\":\"%s\",\"quantization\":", npz_type_name(tensor->type));
        if (tensor->scale > 0) {
            fputs("{\"scale\":", to);
            put_number(to, (double)tensor->scale);
            fprintf(to, ",\"zero_point\":%d}}", (int)tensor->zero_point);
        } else {
            fputs("null}", to);
        }
    }
    fputs("]}", to);
}

static void take_outputs(npz_array *found) {
    for (int i = 0; i < model_output_count; i++) found[i] = network_output(i);
}

/* How many examples the arrays hold: all of them the same number. */
static int64_t count_rows(const npz_array *arrays) {
    for (int i = 0; i < model_input_count; i++)
        if (arrays[i].rank < 1 || arrays[i].shape[0] < 1 || arrays[i].shape[0] != arrays[0].shape[0])
            fail("ValueError", "inputs must have the same positive number of examples");
    return arrays[0].shape[0];
}

/* [rows, ...] of each output; the last chunk is filled up by repeating its last row, and what that gives is cut off. */
static void answer_rows(const npz_array *arrays, int64_t batch, npz_array *found) {
    int64_t rows = count_rows(arrays);
    uint8_t *rooms[NPZ_MAX_ARRAYS];
    for (int64_t start = 0; start < rows; start += batch) {
        network_set_rows(arrays, start);
        network_run();
        for (int i = 0; i < model_output_count; i++) {
            npz_array chunk = network_output(i);
            size_t row = chunk.bytes / (size_t)batch;
            if (start == 0) {
                found[i] = chunk;
                found[i].shape[0] = rows;
                if (__builtin_mul_overflow(row, (size_t)rows, &found[i].bytes) || !(rooms[i] = malloc(found[i].bytes + 1)))
                    fail("MemoryError", "no memory for %lld rows of output %d", (long long)rows, i);
                found[i].data = rooms[i];
            }
            int64_t kept = rows - start < batch ? rows - start : batch;
            memcpy(rooms[i] + row * (size_t)start, chunk.data, row * (size_t)kept);
        }
    }
}

/* Every example of every inputs file, in chunks of the batch. */
static void answer(const request *asked, FILE *to) {
    npz_array given[NPZ_MAX_ARRAYS], found[NPZ_MAX_ARRAYS];
    memory resident = open_network(asked, to);
    fputs(",\"outputs\":[", to);
    for (unsigned part = 0; part < asked->inputs->count; part++) {
        file mapped = file_map(input_path(asked, part));
        npz_read(mapped.content, mapped.bytes, input_path(asked, part), given, model_input_count);
        if (asked->is_batched) {
            answer_rows(given, asked->batch, found);
        } else {
            network_set(given);
            network_run();
            take_outputs(found);
        }
        if (part) putc(',', to);
        put_outputs(to, output_path(asked, part), found);
        for (int i = 0; asked->is_batched && i < model_output_count; i++) free((void *)(uintptr_t)found[i].data);
        file_unmap(mapped);
    }
    putc(']', to);
    put_memory(to, resident);
}

/* The first batch of the first inputs file, or all of it; the file is not needed any more. */
static void set_first(const request *asked) {
    npz_array given[NPZ_MAX_ARRAYS];
    file mapped = file_map(input_path(asked, 0));
    npz_read(mapped.content, mapped.bytes, input_path(asked, 0), given, model_input_count);
    if (asked->is_batched) count_rows(given), network_set_rows(given, 0);
    else network_set(given);
    file_unmap(mapped);
}

static void put_first_outputs(const request *asked, FILE *to) {
    npz_array found[NPZ_MAX_ARRAYS];
    take_outputs(found);
    fputs(",\"outputs\":[", to);
    put_outputs(to, output_path(asked, 0), found);
    putc(']', to);
}

/* Warms up, finds how often a sample must repeat the inference, then times until least samples and seconds are both met. */
static void time_launch(const request *asked, FILE *to) {
    int counts = json_bool(asked->fields, "count_instructions");
    const json *sampling = json_member(asked->fields, "sampling", JSON_OBJECT);
    const char *sysfs = json_string(asked->fields, "sysfs");
    if (counts) instructions_open(); /* before there are threads that it should count */
    memory resident = open_network(asked, to);
    set_first(asked);
    fputs(",\"state_before\":", to);
    put_machine_state(to, sysfs);
    fputs(",\"process_before\":", to);
    put_process_state(to);
    samples_take(sampling, counts);
    fputs(",\"process_after\":", to);
    put_process_state(to);
    put_memory(to, resident);
    fputs(",\"state_after\":", to);
    put_machine_state(to, sysfs);
    putc(',', to);
    put_samples(to);
    put_first_outputs(asked, to);
}

static int by_size(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Where the time of one inference goes: the median of each layer's times. A launch of its own: a profile slows down what it watches. */
static void profile(const request *asked, FILE *to) {
    if (!model_layer_count) fail("RuntimeError", "the network was compiled without a profile");
    memory resident = open_network(asked, to);
    set_first(asked);
    size_t layers = (size_t)model_layer_count;
    uint64_t *times = calloc(layers * PROFILED_RUNS, sizeof *times), *run = calloc(layers, sizeof *run); /* times: [layer][run] */
    if (!times || !run) fail("MemoryError", "no memory for a profile of %zu layers", layers);
    network_run();
    network_run();
    model_profiling = 1;
    size_t runs = 0;
    for (uint64_t begin = now_ns(); runs == 0 || (runs < PROFILED_RUNS && (double)(now_ns() - begin) < 1e9 * PROFILED_S); runs++) {
        network_run();
        memset(run, 0, layers * sizeof *run);
        model_profile(run);
        for (size_t layer = 0; layer < layers; layer++) times[layer * PROFILED_RUNS + runs] = run[layer];
    }
    model_profiling = 0;
    put_memory(to, resident);
    put_first_outputs(asked, to);
    fputs(",\"operators\":[", to);
    for (size_t layer = 0; layer < layers; layer++) {
        uint64_t *own = times + layer * PROFILED_RUNS;
        qsort(own, runs, sizeof *own, by_size);
        fputs(layer ? ",{\"name\":" : "{\"name\":", to);
        put_string(to, model_layers[layer].name);
        fputs(",\"op\":", to);
        put_string(to, model_layers[layer].op);
        fputs(",\"time_s\":", to);
        put_number(to, (double)(own[(runs - 1) / 2] + own[runs / 2]) / 2e9);
        putc('}', to);
    }
    putc(']', to);
}

int main(int count, char **words) {
    die_with_parent();
    reply_open();
    if (count != 2) fail("ValueError", "usage: %s request.json", words[0]);
    request asked = read_request(words[1]);
    const json *cpus = json_find(asked.fields, "cpus");
    if (cpus && cpus->kind != JSON_NULL) run_on(json_member(asked.fields, "cpus", JSON_ARRAY));
    end_after(json_number(asked.fields, "limit_s"));
    const char *mode = json_string(asked.fields, "mode");
    if (strcmp(mode, "answer") == 0) answer(&asked, asked.reply);
    else if (strcmp(mode, "time") == 0) time_launch(&asked, asked.reply);
    else if (strcmp(mode, "profile") == 0) profile(&asked, asked.reply);
    else fail("ValueError", "unknown mode `%s`", mode);
    reply_end();
}
