// What `sluice/gateway` exports: a gateway to run inside another program.
export { Gateway, type MetricsPage } from "./gateway.ts";
export type { GatewayBounds, GatewaySettings, ProviderRoute } from "./gateway-settings.ts";
