/** What kind of call a path is: decides how bodies are read and which meters count. `other`: passed through, counted as one request. */
export type Endpoint =
  | "chat_completions"
  | "responses"
  | "embeddings"
  | "completions"
  | "messages"
  | "count_tokens"
  | "models"
  | "other";

/** Which model tokens a call of this kind can use. */
export type TokenUse = "input_and_output" | "input" | "none";

export function tokenUseOf(endpoint: Endpoint): TokenUse {
  switch (endpoint) {
    case "chat_completions":
    case "responses":
    case "completions":
    case "messages":
      return "input_and_output";
    case "embeddings":
      return "input";
    case "count_tokens":
    case "models":
    case "other":
      return "none";
  }
}
