import { createServer } from "node:http"; import { Pool } from "undici";
