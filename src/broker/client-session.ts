/** The broker's side of one client's session: its stream, what servers asked it, what runs on its behalf. */
import type { ServerResponse } from 'node:http'
import { sseEvent } from '../mcp/sse.ts'
import type { ClientSession, ServerSession } from '../sessions/session-table.ts'

/** Unread bytes at which a stream's reader counts as gone. */
const MOST_UNREAD_BYTES = 4 * 1024 * 1024
/** Questions of servers that may wait for one client at once. */
const MOST_QUESTIONS = 256

/** A request a server made of the client, waiting for the client's answer. */
export interface Question {
  readonly server: string
  /** The server's own id and progress token, as raw JSON text. */
  readonly id: string
  readonly progressToken: string | undefined
  /** Takes the client's answer, addressed with the server's own id. */
  answer(bytes: Buffer): void
  /** The server no longer wants an answer. */
  withdraw(): void
}

/** A call the broker runs for the client. */
export interface RunningCall {
  readonly server: string
  /** Sends the client a message on the call's own stream; false: the client is gone. */
  send(bytes: Buffer): boolean
  /** Tells the server; ends the call soon after when the server says nothing more. */
  cancel(notification: Buffer): void
}

export class ClientState {
  readonly session: ClientSession
  /** Client's raw request id → the call. */
  readonly calls = new Map<string, RunningCall>()
  /** The id we gave a server's question → the question. */
  readonly questions = new Map<string, Question>()
  /** Exposed URI → server. */
  readonly subscriptions = new Map<string, string>()
  /** Server → its session being opened: concurrent first calls open one. */
  readonly opening = new Map<string, Promise<ServerSession>>()
  /** Server → ends the stream we hold open to it for this client. */
  readonly serverStreams = new Map<string, () => void>()
  /** The session is over; what is still being opened for it is closed again. */
  left = false
  /** Raw JSON params of the latest logging/setLevel. */
  logLevel: string | undefined
  #stream: ServerResponse | undefined
  #lastWriteMs = 0
  #questionCount = 0

  constructor(session: ClientSession) {
    this.session = session
  }

  get hasStream(): boolean {
    return this.#stream !== undefined
  }

  /** Makes `res` the client's stream; the one before ends, since every message goes to one stream only. */
  openStream(res: ServerResponse, nowMs: number): void {
    this.#stream?.end()
    this.#stream = res
    this.#lastWriteMs = nowMs
    res.once('close', () => {
      if (this.#stream === res) this.#stream = undefined
    })
  }

  /** A server's message outside any call: on the client's stream, or on one of a call that server is working on. */
  sendFrom(server: string, bytes: Buffer): boolean {
    if (this.send(bytes)) return true
    for (const call of this.calls.values()) if (call.server === server) return call.send(bytes)
    return false
  }

  /** Sends a message on the client's stream; false: it has none. */
  send(bytes: Uint8Array): boolean {
    const stream = this.#stream
    if (stream === undefined || stream.writableEnded) return false
    stream.write(sseEvent(bytes))
    if (stream.writableLength > MOST_UNREAD_BYTES) stream.destroy()
    return true
  }

  keepAlive(nowMs: number, silenceMs: number): void {
    if (this.#stream === undefined) return
    // An open stream is a session in use.
    this.session.lastUsedMs = nowMs
    if (nowMs - this.#lastWriteMs < silenceMs) return
    this.#stream.write(': ping\n\n')
    this.#lastWriteMs = nowMs
  }

  closeStream(): void {
    this.#stream?.end()
    this.#stream = undefined
  }

  /** A new id for a server's question, unlike any other in this session; undefined: too many wait already. */
  ask(question: Question): string | undefined {
    if (this.questions.size >= MOST_QUESTIONS) return undefined
    const id = JSON.stringify(`${question.server}:${++this.#questionCount}`)
    this.questions.set(id, question)
    return id
  }
}
