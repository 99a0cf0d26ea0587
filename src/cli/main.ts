#!/usr/bin/env node
import "./compile-cache.ts";
import { createRequire } from "node:module";
import { Command, Option } from "commander";

// Whoever reads the output may have seen enough, as `head` has.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

// As far from here in the source as in what is published.
const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string };

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

const program = new Command("sluice")
  .description("Rate limiting, cost throttling and burst handling for LLM APIs.")
  .version(version)
  .showHelpAfterError()
  .addHelpText("after", "\nExit codes: 0 done, 1 failed, 2 wrong configuration or arguments.")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

const configOption = () => new Option("--config <file>", "the configuration, see the README");
const listenOption = () =>
  new Option("--listen <address>", "instead of the configuration's `listen`, e.g. 127.0.0.1:9000");
const logOption = () =>
  new Option("--log-level <level>", "how much to log, as JSON lines on standard output").choices(LOG_LEVELS);

// Each command loads what it needs when it runs, so that `--help` and small commands start fast.
program
  .command("serve")
  .description("run the gateway until it is stopped")
  .addOption(configOption().makeOptionMandatory())
  .addOption(listenOption())
  .addOption(logOption().default("info"))
  .action(async (flags: { config: string; listen?: string; logLevel: string }) => {
    const { serve } = await import("./serve.ts");
    await serve(flags);
  });

program
  .command("start")
  .description(
    "run the gateway; without a configuration, a demonstration with two users and recorded answers",
  )
  .addOption(configOption())
  .addOption(listenOption())
  .addOption(logOption())
  .action(async (flags: { config?: string; listen?: string; logLevel?: string }) => {
    const { start } = await import("./start.ts");
    const logLevel = flags.logLevel ?? (flags.config === undefined ? "warn" : "info");
    await start({ ...flags, logLevel });
  });

program
  .command("check")
  .description("say what a configuration means, or everything that is wrong with it")
  .argument("<file>", "the configuration")
  .option("--json", "for programs: {valid, problems} or {valid, warnings}")
  .action(async (file: string, flags: { json?: boolean }) => {
    const { check } = await import("./check.ts");
    process.exitCode = await check(file, flags.json === true);
  });

program
  .command("replay-provider")
  .description("run a provider that answers like OpenAI and Anthropic from recordings")
  .option("--host <host>", "where to listen", "127.0.0.1")
  .option("--port <port>", "0 for any free one", "0")
  .option("--data <file>", "recordings, one JSON object a line; the bundled ones by default")
  .option("--limits <limits>", "enforce limits per key, e.g. requests=60/1m,tokens=90000/1m")
  .option(
    "--switch <name=value...>",
    "misbehave: latency_ms=50, fail_status=529, cut_after_chunks=3, chunk_interval_ms=20 …",
  )
  .action(async (flags: Record<string, string>) => {
    const { replayProvider } = await import("./replay-provider.ts");
    await replayProvider(flags);
  });

program
  .command("estimate")
  .description("say what a request body is estimated to use and to cost, and what a plan would hold for it")
  .argument("<file>", "the body, as JSON; - for standard input")
  .addOption(configOption())
  .option("--plan <name>", "of the configuration")
  .addOption(
    new Option("--endpoint <name>", "where it would be sent; told from the body otherwise").choices([
      "chat_completions",
      "responses",
      "embeddings",
      "completions",
      "messages",
    ]),
  )
  .option("--json", "for programs; money in billionths of a dollar")
  .action(
    async (file: string, flags: { config?: string; plan?: string; endpoint?: string; json?: boolean }) => {
      const { estimate } = await import("./estimate.ts");
      process.exitCode = await estimate(file, flags);
    },
  );

const prices = program.command("prices").description("what models cost");

prices
  .command("show")
  .description("say what a model costs, and since when")
  .argument("<model>", "what the provider calls it")
  .option("--provider <name>", "of the configuration, or of the catalogue where there is none")
  .addOption(configOption())
  .option("--json", "for programs; US dollars per million")
  .action(async (model: string, flags: { provider?: string; config?: string; json?: boolean }) => {
    const { showPrices } = await import("./prices.ts");
    process.exitCode = await showPrices(model, flags);
  });

prices
  .command("update")
  .description("fetch the newest list of prices, check it, and keep it beside the store")
  .addOption(configOption())
  .option("--url <url>", "instead of the catalogue's own address")
  .option("--json", "for programs: {kind, …}")
  .action(async (flags: { config?: string; url?: string; json?: boolean }) => {
    const { updatePrices } = await import("./prices.ts");
    process.exitCode = await updatePrices(flags);
  });

await program.parseAsync();
