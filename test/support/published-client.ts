/** What every published MCP client can do, and what each answers when a server asks. */

/** What a user does with a client. Results are as the client hands them out. */
export interface PublishedClient extends AsyncDisposable {
  tools(): Promise<readonly string[]>
  call(name: string, args?: Record<string, unknown>): Promise<unknown>
  prompts(): Promise<readonly string[]>
  get(name: string, args?: Record<string, string>): Promise<unknown>
  resources(): Promise<readonly string[]>
  read(uri: string): Promise<unknown>
  templates(): Promise<readonly string[]>
  /** What the argument of a prompt may be completed to. */
  complete(prompt: string, argument: string, value: string): Promise<readonly string[]>
  /** Subscribes to a resource; `updated` resolves with the first news of it. */
  watch(uri: string): Promise<{ readonly updated: Promise<unknown> }>
  /** A call whose progress is wanted, and that can be cancelled. Not all clients can. */
  readonly follow?: (
    name: string,
    args: Record<string, unknown>,
    onProgress: (progress: number) => void,
    signal?: AbortSignal,
  ) => Promise<unknown>
}

/** What these clients answer when a server asks. */
export const answers = {
  elicitation: { action: 'accept' as const, content: { username: 'ada', email: 'ada@example.com' } },
  sampling: { model: 'test-model', role: 'assistant' as const, content: { type: 'text' as const, text: 'forty-two' } },
  roots: { roots: [{ uri: 'file:///home/ada', name: 'home' }] },
}
