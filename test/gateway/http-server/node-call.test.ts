import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { NodeResponse } from "../../../src/gateway/http-server/node-call.ts";

test("NodeResponse listen puts a later listener in the place of an earlier one (Q5)", () => {
  const events = new EventEmitter();
  const response = new NodeResponse(events as unknown as ServerResponse);
  const heard: string[] = [];
  const listener = (name: string) => ({
    onDrain: () => heard.push(`${name} drain`),
    onGone: () => heard.push(`${name} gone`),
  });
  response.listen(listener("first"));
  response.listen(listener("second"));
  events.emit("drain");
  events.emit("close");
  assert.deepEqual(heard, ["second drain", "second gone"]);
});
