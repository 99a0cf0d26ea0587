import type { Telemetry, TelemetryEvent } from "../../src/ports/telemetry.ts";

/** Remembers what it was told. */
export class RecordingTelemetry implements Telemetry {
  readonly events: TelemetryEvent[] = [];
  readonly lines: string[] = [];

  count(event: TelemetryEvent): void {
    this.events.push(event);
  }

  observe(): void {}

  log(level: string, message: string, details?: Readonly<Record<string, unknown>>): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(details ?? {})}`);
  }

  counted(event: TelemetryEvent): number {
    return this.events.filter((seen) => seen === event).length;
  }
}
