"use strict";
// A whole scoring program: a logistic regression, read from artifact/model.json, over Arrow streams.

const fs = require("node:fs");
const path = require("node:path");
const arrow = require("apache-arrow");

const settings = JSON.parse(fs.readFileSync(process.argv.at(-1), "utf8"));
const model = JSON.parse(fs.readFileSync(path.join(settings.artifact, "model.json"), "utf8"));
const schema = new arrow.Schema([new arrow.Field("probability", new arrow.Float64(), true)]);

function tell(event, facts) {
  writeAll(settings.control_fd, Buffer.from(JSON.stringify({ event, ...facts }) + "\n"));
}

function writeAll(fd, bytes) {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
}

// Blocking reads and writes: an answer leaves before the next batch is read.
function read(size) {
  const bytes = Buffer.allocUnsafeSlow(size);
  for (let at = 0; at < size; ) {
    const count = fs.readSync(0, bytes, at, size - at);
    if (count === 0 && at === 0) return null; // the input is closed
    if (count === 0) throw new Error("the input ends within a message");
    at += count;
  }
  return bytes;
}

// Gives the batches of one stream. The stream is cut into messages here, as apache-arrow's own reader
// (21.2) asks for bytes beyond the end of a stream and takes one without a batch and the next as one.
function* readBatches(prefix) {
  const head = []; // the schema, and dictionaries as they come
  for (; ; prefix = read(8)) {
    if (prefix === null) throw new Error("the input ends within a stream");
    const length = prefix.readInt32LE(4);
    if (length === 0) return;
    const metadata = read(length);
    const { bodyLength, headerType } = arrow.Message.decode(metadata);
    const message = [prefix, metadata, bodyLength ? read(bodyLength) : Buffer.alloc(0)];
    if (headerType === arrow.MessageHeader.RecordBatch) {
      yield arrow.RecordBatchReader.from(Buffer.concat([...head, ...message])).next().value;
    } else {
      head.push(...message);
    }
  }
}

class Output extends arrow.AsyncByteQueue {
  write(bytes) {
    writeAll(1, bytes);
  }
}

// Vector.toArray() passes over nulls; get() gives null. A value counts, not its dictionary's code.
function addTerms(batch, sums) {
  for (const [name, { weight, missing }] of Object.entries(model.numbers)) {
    const column = batch.getChild(name);
    for (let row = 0; row < sums.length; row++) {
      const value = column.get(row);
      sums[row] += weight * (value === null ? missing : Number(value)); // an int64 is a BigInt
    }
  }
  for (const [name, weights] of Object.entries(model.categories)) {
    const column = batch.getChild(name);
    const known = new Map(Object.entries(weights));
    for (let row = 0; row < sums.length; row++) sums[row] += known.get(column.get(row)) ?? 0;
  }
}

function predict(batch) {
  const values = new Float64Array(batch.numRows).fill(model.intercept);
  addTerms(batch, values);
  for (let row = 0; row < values.length; row++) values[row] = 1 / (1 + Math.exp(-values[row]));
  const children = [arrow.makeData({ type: new arrow.Float64(), data: values })];
  const type = new arrow.Struct(schema.fields);
  return new arrow.RecordBatch(schema, arrow.makeData({ type, length: values.length, children }));
}

function usage() {
  const { user, system } = process.cpuUsage();
  // maxRSS would count the parent before exec, too.
  const peak = /^VmHWM:\s+(\d+)/m.exec(fs.readFileSync("/proc/self/status", "latin1"));
  return { cpu_s: (user + system) / 1e6, peak_mib: Number(peak[1]) / 1024 };
}

function scoreStream(prefix, stream) {
  const writer = new arrow.RecordBatchStreamWriter({ autoDestroy: false });
  writer.reset(new Output(), schema);
  let rows = 0;
  let seconds = 0;
  let error = null;
  for (const batch of readBatches(prefix)) {
    if (error !== null) continue; // read on to the end: the next stream may be fine
    try {
      const started = process.hrtime.bigint();
      const answer = predict(batch);
      seconds += Number(process.hrtime.bigint() - started) / 1e9;
      writer.write(answer);
      rows += answer.numRows;
    } catch (err) {
      error = err;
    }
  }
  writer.finish();
  if (error !== null) {
    const { name, message, stack } = error;
    tell("error", { stream, where: "predict", type: name, message, traceback: stack });
  } else {
    tell("done", { stream, rows_in: rows, rows_out: rows, predict_s: seconds, ...usage() });
  }
}

tell("ready");
for (let prefix, stream = 0; (prefix = read(8)) !== null; stream++) scoreStream(prefix, stream);
tell("bye", usage());
