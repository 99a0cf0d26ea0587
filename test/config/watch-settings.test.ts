import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { ConfigurationError } from "../../src/config/problem.ts";
import type { Settings } from "../../src/config/settings.ts";
import { openSettingsFile, type SettingsWatch } from "../../src/config/watch-settings.ts";

const withLimit = (limit: number | string) =>
  `plans: { free: { limits: [{ meter: requests, limit: ${limit}, per: 1m }] } }`;
const unexpected = (error: unknown) => assert.fail(String(error));
const limitOf = (settings: Settings) => settings.policy.plans.get("free")?.limits[0].limit;

describe("openSettingsFile", () => {
  let directory: string;
  let file: string;
  let events: EventEmitter<{ settings: [Settings]; error: [ConfigurationError]; failure: [unknown] }>;
  let watching: SettingsWatch | undefined;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-watch-"));
    file = join(directory, "sluice.yaml");
    writeFileSync(file, withLimit(1));
    events = new EventEmitter();
  });
  afterEach(() => {
    watching?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const open = async () => {
    const opened = await openSettingsFile(file, {});
    watching = opened.watch({
      onSettings: (settings) => events.emit("settings", settings),
      onError: (error) => events.emit("error", error),
      onFailure: (error) => events.emit("failure", error),
    });
    return opened.settings;
  };
  const changed = () =>
    once(events, "settings", { signal: AbortSignal.timeout(10_000) }) as Promise<[Settings]>;
  const rejected = async (): Promise<ConfigurationError> => {
    const { promise, resolve } = Promise.withResolvers<ConfigurationError>();
    events.once("error", resolve);
    return promise;
  };

  test("tells of a file that is written in place, and of one that takes its place", async () => {
    assert.equal(limitOf(await open()), 1);
    let next = changed();
    writeFileSync(file, withLimit(2));
    assert.equal(limitOf((await next)[0]), 2);
    next = changed();
    writeFileSync(`${file}.tmp`, withLimit(3));
    renameSync(`${file}.tmp`, file);
    assert.equal(limitOf((await next)[0]), 3);
  });

  test("tells what is wrong with a changed file, and of the next good one", async () => {
    await open();
    const wrong = rejected();
    writeFileSync(file, withLimit("many"));
    assert.match((await wrong).message, /sluice\.yaml:1:53: plans\.free\.limits\[0\]\.limit: found "many"/);
    const next = changed();
    writeFileSync(file, withLimit(2));
    assert.equal(limitOf((await next)[0]), 2);
  });

  test("tells of a file that is gone, and of its return", async () => {
    await open();
    const gone = rejected();
    unlinkSync(file);
    assert.match((await gone).message, /there is no such file/);
    const next = changed();
    writeFileSync(file, withLimit(2));
    assert.equal(limitOf((await next)[0]), 2);
  });

  test("takes the same content for no change", async () => {
    writeFileSync(file, withLimit(2));
    const older = await openSettingsFile(file, {});
    writeFileSync(file, withLimit(1));
    let told = 0;
    const opened = await openSettingsFile(file, {});
    watching = opened.watch({
      onSettings: () => (told += 1),
      onError: () => (told += 1),
      onFailure: () => (told += 1),
    });
    // Both look now; to the older one it is a change.
    const next = changed();
    const other = older.watch({
      onSettings: (settings) => events.emit("settings", settings),
      onError: () => {},
      onFailure: unexpected,
    });
    assert.equal(limitOf((await next)[0]), 1);
    other.close();
    assert.equal(told, 0);
  });

  test("tells of a change that was made between reading and watching", async () => {
    const opened = await openSettingsFile(file, {});
    writeFileSync(file, withLimit(2));
    const next = changed();
    watching = opened.watch({
      onSettings: (settings) => events.emit("settings", settings),
      onError: () => {},
      onFailure: unexpected,
    });
    assert.equal(limitOf((await next)[0]), 2);
  });

  test("follows a link that is swapped, as Kubernetes does", async () => {
    for (const version of ["v1", "v2"]) mkdirSync(join(directory, `..${version}`));
    writeFileSync(join(directory, "..v1", "c.yaml"), withLimit(1));
    writeFileSync(join(directory, "..v2", "c.yaml"), withLimit(2));
    symlinkSync("..v1", join(directory, "..data"));
    file = join(directory, "c.yaml");
    symlinkSync(join("..data", "c.yaml"), file);
    assert.equal(limitOf(await open()), 1);
    const next = changed();
    symlinkSync("..v2", join(directory, "..tmp"));
    renameSync(join(directory, "..tmp"), join(directory, "..data"));
    assert.equal(limitOf((await next)[0]), 2);
  });

  test("tells of a change that its listener cannot take, and goes on with the next one", async () => {
    const opened = await openSettingsFile(file, {});
    const failure = Promise.withResolvers<unknown>();
    watching = opened.watch({
      onSettings: (settings) => {
        if (limitOf(settings) === 2) throw new Error("a mistake");
        events.emit("settings", settings);
      },
      onError: unexpected,
      onFailure: failure.resolve,
    });
    writeFileSync(file, withLimit(2));
    assert.match(String(await failure.promise), /a mistake/);
    const next = changed();
    writeFileSync(file, withLimit(3));
    assert.equal(limitOf((await next)[0]), 3);
  });

  test("tells nobody anything once it is closed", async () => {
    await open();
    watching?.close();
    let told = 0;
    events.on("settings", () => {
      told += 1;
    });
    writeFileSync(file, withLimit(2));
    // A second watch on the same folder hears of the change; the first would have by then.
    const second = await openSettingsFile(file, {});
    const heard = Promise.withResolvers<void>();
    const other = second.watch({
      onSettings: () => heard.resolve(),
      onError: () => {},
      onFailure: heard.reject,
    });
    writeFileSync(file, withLimit(3));
    await heard.promise;
    other.close();
    assert.equal(told, 0);
  });
});
