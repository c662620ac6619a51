/** The closed-loop load generator: a process of its own, sockets and prepared bytes, so that it is never what limits. */
import { connect, type Socket } from 'node:net'
import { type Caller, headersOf, paramsOf } from './caller.ts'
import { cpuMs, type Tree } from './processes.ts'

/** One measurement: each caller has one connection and one request under way. */
export interface LoadOrder {
  readonly port: number
  readonly path: string
  readonly callers: readonly Caller[]
  readonly request: { readonly kind: 'call'; readonly tool: string; readonly bytes: number } | { readonly kind: 'list' }
  /** Ends after so many ms, or after so many requests. */
  readonly until: { readonly ms: number } | { readonly requests: number }
  /** Whose CPU time is read. */
  readonly tree: Tree
}

export interface LoadResult {
  readonly requests: number
  readonly failed: number
  /** What the first of the failed ones got. */
  readonly failure?: string
  readonly ms: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of an answer's body. */
  readonly answerBytes: number
  readonly cpuMs: { readonly node: number; readonly envoy: number }
}

const FIRST_ID = 100_000_000
const ID_DIGITS = 9
const PREFIX = '{"jsonrpc":"2.0","id":'
/** Nothing that is measured takes so long. */
const PATIENCE_MS = 30_000

const body = (method: string, params: string): string => `${PREFIX}${FIRST_ID},"method":"${method}","params":${params}}`

/** Filled up to the size, which what the era adds does not count towards. */
const callParams = (tool: string, bytes: number): string => {
  const params = (pad: string): string => `{"name":"${tool}","arguments":{"key":"a-1024","pad":"${pad}"}}`
  return params('x'.repeat(bytes - body('tools/call', params('')).length))
}

const requestBytes = ({ path, port, request }: LoadOrder, caller: Caller): Buffer => {
  const [method, name, params] =
    request.kind === 'list'
      ? ['tools/list', undefined, '{}']
      : ['tools/call', request.tool, callParams(request.tool, request.bytes)]
  const text = body(method, paramsOf(caller, params))
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    `content-length: ${text.length}`,
    ...Object.entries(headersOf(caller, method, name)).map(([field, value]) => `${field}: ${value}`),
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`)
}

interface Answer {
  readonly ok: boolean
  readonly bytes: number
  readonly text: string
}

/** One connection with one request under way at a time. */
class Connection {
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #idAt: number
  #id = ''
  #head: Buffer = Buffer.alloc(0)
  #missing = -1
  #status = ''
  #length = 0
  #start = ''
  #answered: (answer: Answer) => void = () => undefined

  constructor(socket: Socket, request: Buffer) {
    this.#socket = socket
    this.#request = request
    this.#idAt = request.indexOf(PREFIX) + PREFIX.length
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('error', (error) => this.#finish(false, error.message))
    socket.on('close', () => this.#finish(false, 'the connection was closed'))
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('no answer')))
    socket.setNoDelay(true)
  }

  static open(order: LoadOrder, caller: Caller): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(order.port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.removeListener('error', reject)
        resolve(new Connection(socket, requestBytes(order, caller)))
      })
    })
  }

  send(id: number): Promise<Answer> {
    this.#id = String(id)
    this.#request.write(this.#id, this.#idAt, ID_DIGITS, 'latin1')
    this.#missing = -1
    this.#head = Buffer.alloc(0)
    this.#start = ''
    return new Promise((resolve) => {
      this.#answered = resolve
      if (this.#socket.destroyed) this.#finish(false, 'the connection was closed')
      else this.#socket.write(this.#request)
    })
  }

  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    let rest = chunk
    if (this.#missing < 0) {
      const all = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
      const end = all.indexOf('\r\n\r\n')
      if (end < 0) {
        this.#head = all
        return
      }
      const head = all.toString('latin1', 0, end)
      this.#status = head.slice(9, 12)
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
      if (length === undefined) {
        this.#finish(false, head)
        return
      }
      this.#length = this.#missing = Number(length)
      rest = all.subarray(end + 4)
    }
    if (this.#start.length < 200) this.#start += rest.toString('latin1', 0, 200)
    this.#missing -= rest.length
    if (this.#missing > 0) return
    // The right answer, and nothing behind it.
    const right = this.#start.startsWith(`${PREFIX}${this.#id},"result":{"`)
    this.#finish(this.#missing === 0 && this.#status === '200' && right, `${this.#status} ${this.#start}`)
  }

  #finish(ok: boolean, text: string): void {
    const answered = this.#answered
    this.#answered = () => undefined
    answered({ ok, bytes: this.#length, text })
  }
}

const quantile = (sorted: Float64Array, q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0

const run = async (order: LoadOrder): Promise<LoadResult> => {
  const { until, tree } = order
  const connections = await Promise.all(order.callers.map((caller) => Connection.open(order, caller)))
  let id = FIRST_ID
  const first = await Promise.all(connections.map((connection) => connection.send(id++)))
  const times: number[] = []
  let failed = 0
  let failure = first.find(({ ok }) => !ok)?.text
  let sent = 0
  const cpuBefore = { node: cpuMs(tree.node), envoy: cpuMs(tree.envoy) }
  const startMs = performance.now()
  const more = (): boolean =>
    'ms' in until ? performance.now() - startMs < until.ms : sent < until.requests && failed < until.requests / 10
  const loop = async (connection: Connection): Promise<void> => {
    while (more()) {
      sent++
      const sentMs = performance.now()
      const answer = await connection.send(id++)
      times.push(performance.now() - sentMs)
      if (answer.ok) continue
      failed++
      failure ??= answer.text
    }
  }
  await Promise.all(connections.map(loop))
  const ms = performance.now() - startMs
  const cpuAfter = { node: cpuMs(tree.node), envoy: cpuMs(tree.envoy) }
  for (const connection of connections) connection.close()
  const sorted = Float64Array.from(times).sort()
  return {
    requests: times.length,
    failed: failed + first.filter(({ ok }) => !ok).length,
    ...(failure !== undefined && { failure: failure.slice(0, 300) }),
    ms,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    answerBytes: first[0]?.bytes ?? 0,
    cpuMs: { node: cpuAfter.node - cpuBefore.node, envoy: cpuAfter.envoy - cpuBefore.envoy },
  }
}

process.on('message', (order: LoadOrder) => {
  void run(order).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
