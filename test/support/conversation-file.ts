/** What may stand in a conversation.yaml. Anything else is refused, so that a misspelt expectation cannot pass unseen. */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Era } from '../../src/mcp/versions.ts'

const object = z.record(z.string(), z.unknown())
const texts = z.record(z.string(), z.string())
const eras = z.enum(['stateful', 'stateless', 'both'])

/**
 * A text, or a definition with an `answer`: a text or a whole result; or with the `error` it answers with. What it `asks` it
 * asks first, one after the other; without an answer it then says what it was told, a line each.
 */
const offered = z.preprocess(
  (value) => (typeof value === 'string' ? { answer: value } : value),
  z.looseObject({
    answer: z.union([z.string(), object]).optional(),
    error: z.strictObject({ code: z.number(), message: z.string() }).optional(),
    asks: z.array(z.strictObject({ method: z.string(), params: object })).default([]),
  }),
)

/** A scripted server on 127.0.0.1: what it offers, by name. */
const scripted = z.strictObject({
  /** What it speaks. */
  era: eras.default('both'),
  /** What it says of how long its lists and resources may be kept; default: nothing. */
  caching: z.strictObject({ ttlMs: z.number(), cacheScope: z.enum(['public', 'private']) }).optional(),
  tools: z.record(z.string(), offered).default({}),
  prompts: z.record(z.string(), offered).default({}),
  resources: z.record(z.string(), offered).default({}),
  instructions: z.string().optional(),
  /** A header it insists on; 401 otherwise. */
  credential: z.strictObject({ header: z.string(), value: z.string() }).optional(),
  /** It speaks TLS, with these files. With `clientCa` it insists on a client certificate. */
  tls: z.strictObject({ cert: z.string(), key: z.string(), clientCa: z.string().optional() }).optional(),
})

/** A real server: arguments for `node`, started in the example's folder. It prints its address once it listens. */
const real = z.strictObject({ run: z.array(z.string()).min(1) })

const lists = ['tools', 'prompts', 'resources', 'templates'] as const

/** `envoy`: no further than Envoy itself, which answers before anything of the request is read. */
const way = z.union([z.literal(['broker', 'envoy']), z.templateLiteral(['server ', z.string()])])

const step = z
  .strictObject({
    /** What this shows. */
    shows: z.string().optional(),
    /** Who says it; default: the conversation's. `both`: a client of each era, one after the other. */
    client: eras.optional(),
    /** Whose token comes along, one of `people`; default: none. */
    as: z.string().optional(),
    /** The view it is said to; default: all of the gateway. */
    at: z.string().optional(),

    // What the client does: one of these.
    list: z.enum(lists).optional(),
    call: z.string().optional(),
    get: z.string().optional(),
    read: z.string().optional(),
    send: z.string().optional(),
    /** The arguments of `call` and `get`, the parameters of `send`. */
    with: object.optional(),
    /** A retry: answers to what this client was asked last, in that order. The state that came with the questions goes along. */
    answering: z.array(object).optional(),
    /** Headers beside those that every request has, or in their place. */
    headers: texts.default({}),
    /** What a stateless client declares with this request in place of the conversation's. */
    capabilities: object.optional(),

    /** The way it takes, by Envoy's own access log. */
    via: z.union([way, z.strictObject({ stateful: way, stateless: way })]),

    /** The HTTP status. */
    status: z.number().default(200),
    /** The answer's headers, or parts of them, by names in lower case. */
    carries: texts.default({}),
    /** What the client hears on the request's own stream before the answer: parts of each message, in order. */
    hears: z.array(object).optional(),

    // What the client gets: one of these.
    /** All names of a list, in order. */
    names: z.array(z.string()).optional(),
    /** The text: of a tool's contents, a prompt's messages or a resource. */
    text: z.string().optional(),
    /** Parts of the result. */
    result: object.optional(),
    /** Parts of the JSON-RPC error. */
    error: object.optional(),
    /** Parts of what an `input_required` result asks, in order; whatever the questions' keys are. */
    asks: z.array(object).optional(),
    /** What stands nowhere in the answer, neither in a header nor in the body. */
    without: z.array(z.string()).default([]),

    /**
     * Server → parts of a request it receives meanwhile: `era`, `params`, `headers`, `clientName` (of its certificate). Null:
     * nothing of this method.
     */
    arrives: z.record(z.string(), object.nullable()).default({}),
  })
  .refine(
    ({ list, call, get, read, send }) => onlyOne(list, call, get, read, send),
    'one of list, call, get, read, send',
  )
  .refine(
    ({ names, text, result, error, asks }) => onlyOne(names, text, result, error, asks),
    'one of names, text, result, error, asks',
  )
  .refine(({ list, names }) => (list === undefined) === (names === undefined), 'list and names go together')

const onlyOne = (...all: unknown[]): boolean => all.filter((one) => one !== undefined).length === 1

const conversation = z
  .strictObject({
    /** The era of the client who says all steps that do not say otherwise. */
    client: eras.default('stateful'),
    /** Started for the conversation; `${WEATHER_URL}` in the registry is the address of `weather`, `${WEATHER_ADDRESS}` its host and port. */
    servers: z.record(z.string(), z.union([real, scripted])).default({}),
    /** Other variables of the registry. */
    variables: texts.default({}),
    /** Files that the registry refers to and that lie elsewhere: name → path from this folder. */
    files: texts.default({}),
    /**
     * What every token says, and the file of `auth.jwks`. While the conversation is held, that file has the key that signs
     * them; the private half of it is nowhere but in the test. No scripted server may ever see such a token.
     */
    tokens: z.strictObject({ keys: z.string(), claims: object }).optional(),
    /** Whose tokens there are: name → what theirs says beside `tokens.claims`. `sub` is the name, `exp` an hour from now. */
    people: z.record(z.string(), object).default({}),
    /** What the clients declare that they can be asked. */
    capabilities: object.default({}),
    /** What a stateful one answers then: method → result. A stateless one answers in a step of its own. */
    answers: z.record(z.string(), object).default({}),
    /** Parts of what the gateway says about itself in answer to `initialize`. */
    initialized: object.default({}),
    steps: z.array(step).min(1),
  })
  .transform(({ steps, client, ...rest }) => ({ ...rest, lines: steps.flatMap((one) => linesOf(one, client)) }))
  .refine(
    ({ lines }) => lines.every(({ era, ...line }) => era === 'stateless' || onlyStateless(line).length === 0),
    'answering, asks and capabilities are for steps of a stateless client alone',
  )
  .refine(
    ({ lines, people, tokens }) =>
      lines.every(({ as }) => as === undefined || Object.hasOwn(people, as)) &&
      (tokens !== undefined || Object.keys(people).length === 0),
    'as is one of people, and people need tokens',
  )
  .refine(
    ({ lines, initialized }) => Object.keys(initialized).length === 0 || lines.some(({ era }) => era === 'stateful'),
    'initialized is for conversations with a stateful client',
  )

/** A step as one client says it. */
const linesOf = ({ client, via, ...rest }: z.infer<typeof step>, usual: z.infer<typeof eras>) => {
  const who = client ?? usual
  const all: readonly Era[] = who === 'both' ? ['stateful', 'stateless'] : [who]
  return all.map((era) => ({ ...rest, era, via: typeof via === 'string' ? via : via[era] }))
}

const onlyStateless = ({
  answering,
  asks,
  capabilities,
}: Pick<z.infer<typeof step>, 'answering' | 'asks' | 'capabilities'>) =>
  [answering, asks, capabilities].filter((one) => one !== undefined)

export type Conversation = z.infer<typeof conversation>
export type Served = Conversation['servers'][string]
export type Scripted = Extract<Served, { readonly tools: unknown }>
export type Offered = Scripted['tools'][string]
export type Line = Conversation['lines'][number]

/** Throws with all that is wrong with it. */
export const conversationFile = (file: string): Conversation => {
  const read = conversation.safeParse(parse(readFileSync(file, 'utf8')))
  if (read.success) return read.data
  throw new Error(`${file}:\n${z.prettifyError(read.error)}`)
}
