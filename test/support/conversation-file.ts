/** What may stand in a conversation.yaml. Anything else is refused, so that a misspelt expectation cannot pass unseen. */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'

const object = z.record(z.string(), z.unknown())
const texts = z.record(z.string(), z.string())

/** A text, or a definition with an `answer`: a text or a whole result; or with the `error` it answers with. */
const offered = z.preprocess(
  (value) => (typeof value === 'string' ? { answer: value } : value),
  z.looseObject({
    answer: z.union([z.string(), object]).optional(),
    error: z.strictObject({ code: z.number(), message: z.string() }).optional(),
  }),
)

/** A scripted server on 127.0.0.1: what it offers, by name. */
const scripted = z.strictObject({
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

const step = z
  .strictObject({
    /** What this shows. */
    shows: z.string().optional(),

    // What the client does: one of these.
    list: z.enum(lists).optional(),
    call: z.string().optional(),
    get: z.string().optional(),
    read: z.string().optional(),
    send: z.string().optional(),
    /** The arguments of `call` and `get`, the parameters of `send`. */
    with: object.optional(),

    /** The way it takes, by Envoy's own access log. */
    via: z.union([z.literal('broker'), z.templateLiteral(['server ', z.string()])]),

    // What the client gets, with status 200: one of these.
    /** All names of a list, in order. */
    names: z.array(z.string()).optional(),
    /** The text: of a tool's contents, a prompt's messages or a resource. */
    text: z.string().optional(),
    /** Parts of the result. */
    result: object.optional(),
    /** Parts of the JSON-RPC error. */
    error: object.optional(),
    /** What stands nowhere in the answer, neither in a header nor in the body. */
    without: z.array(z.string()).default([]),

    /** Server → parts of a request it receives meanwhile: `params`, `headers`, `clientName` (of its certificate). */
    arrives: z.record(z.string(), object).default({}),
  })
  .refine(
    ({ list, call, get, read, send }) => onlyOne(list, call, get, read, send),
    'one of list, call, get, read, send',
  )
  .refine(({ names, text, result, error }) => onlyOne(names, text, result, error), 'one of names, text, result, error')
  .refine(({ list, names }) => (list === undefined) === (names === undefined), 'list and names go together')

const onlyOne = (...all: unknown[]): boolean => all.filter((one) => one !== undefined).length === 1

const conversation = z.strictObject({
  /** Started for the conversation; `${WEATHER_URL}` in the registry is the address of `weather`. */
  servers: z.record(z.string(), z.union([real, scripted])).default({}),
  /** Other variables of the registry. */
  variables: texts.default({}),
  /** Files that the registry refers to and that lie elsewhere: name → path from this folder. */
  files: texts.default({}),
  /** What the client declares that it can be asked. */
  capabilities: object.default({}),
  /** What it answers then: method → result. */
  answers: z.record(z.string(), object).default({}),
  /** Parts of what the gateway says about itself in answer to `initialize`. */
  initialized: object.default({}),
  steps: z.array(step).min(1),
})

export type Conversation = z.infer<typeof conversation>
export type Served = Conversation['servers'][string]
export type Scripted = Extract<Served, { readonly tools: unknown }>
export type Offered = Scripted['tools'][string]
export type Step = Conversation['steps'][number]

/** Throws with all that is wrong with it. */
export const conversationFile = (file: string): Conversation => {
  const read = conversation.safeParse(parse(readFileSync(file, 'utf8')))
  if (read.success) return read.data
  throw new Error(`${file}:\n${z.prettifyError(read.error)}`)
}
