/** The broker's side of one client's session: its stream, what servers asked it, what runs on its behalf. */
import type { ServerResponse } from 'node:http'
import type { Catalogue } from '../catalog/catalogue.ts'
import type { Thing } from '../policy/thing.ts'
import type { ClientSession, ServerSession } from '../sessions/session-table.ts'
import { type Caller, nobody } from './caller.ts'
import { ClientStreams, RESUMABLE_MS } from './client-streams.ts'
import type { Held } from './event-store.ts'
import type { EventStream } from './event-stream.ts'

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

/** What a client may be told, as it is now. */
export interface HearingRights {
  of(client: ClientState, resource: Thing): boolean
  from(client: ClientState, server: string): boolean
}
const EVERYTHING: HearingRights = { of: () => true, from: () => true }

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
  #stream: EventStream | undefined
  #streams: ClientStreams | undefined
  readonly #held: Held
  #questionCount = 0
  /** Whose request came last: what servers are shown of the client beside its own words. */
  caller: Caller = nobody
  /** The latest that the client knows of, or may know of; undefined: what all are offered. */
  offered: Catalogue | undefined

  readonly #rights: HearingRights

  /** `held`: what the clients together keep of what was sent. */
  constructor(session: ClientSession, held: Held = { bytes: 0 }, rights: HearingRights = EVERYTHING) {
    this.session = session
    this.#held = held
    this.#rights = rights
  }

  /** Whether news of a resource is for it. */
  mayHearOf(resource: Thing): boolean {
    return this.#rights.of(this, resource)
  }

  /** Whether what a server says is for it: during a call of its own, and as long as it may have anything there. */
  mayHearFrom(server: string): boolean {
    for (const call of this.calls.values()) if (call.server === server) return true
    return this.#rights.from(this, server)
  }

  /** All streams of the session, those of calls too. */
  get streams(): ClientStreams {
    this.#streams ??= new ClientStreams(this.session.claims.protocolVersion, this.#held)
    return this.#streams
  }

  get hasStream(): boolean {
    return this.#stream?.attached === true
  }

  /** Makes `res` the client's stream; the one before ends, since every message goes to one stream only. */
  openStream(res: ServerResponse, nowMs: number): void {
    this.closeStream()
    this.#stream = this.streams.begin('own', res, nowMs)
  }

  /** A server's message outside any call: on the client's stream, or on one of a call that server is working on. */
  sendFrom(server: string, bytes: Buffer): boolean {
    if (this.hasStream) return this.send(bytes)
    for (const call of this.calls.values()) if (call.server === server) return call.send(bytes)
    return this.send(bytes)
  }

  /** Something said to it is heard, now or when it is back. */
  get mayBeSent(): boolean {
    return this.#stream?.over === false
  }

  /** Sends a message on the client's stream, or keeps it there until the client is back; false: it has none. */
  send(bytes: Uint8Array): boolean {
    const stream = this.#stream
    if (stream === undefined || stream.over) return false
    stream.send(bytes)
    return true
  }

  /** Called now and then. */
  keepAlive(nowMs: number, silenceMs: number): void {
    this.#streams?.expire(nowMs)
    if (this.#stream === undefined) return
    // An open stream is a session in use.
    if (this.hasStream) this.session.lastUsedMs = nowMs
    else if (this.#stream.awayMs(nowMs) > RESUMABLE_MS) this.closeStream()
    this.#stream?.keepAlive(nowMs, silenceMs)
  }

  closeStream(): void {
    if (this.#stream === undefined) return
    this.#stream.end()
    this.streams.forget(this.#stream)
    this.#stream = undefined
  }

  /** The session is over. */
  leave(): void {
    this.left = true
    // Nobody answers any more.
    for (const question of this.questions.values()) question.withdraw()
    this.questions.clear()
    this.closeStream()
    this.#streams?.close()
  }

  /** A new id for a server's question, unlike any other in this session; undefined: too many wait already. */
  ask(question: Question): string | undefined {
    if (this.questions.size >= MOST_QUESTIONS) return undefined
    const id = JSON.stringify(`${question.server}:${++this.#questionCount}`)
    this.questions.set(id, question)
    return id
  }
}
