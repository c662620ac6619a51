/** What a registry means once it is trusted: the value every other part is computed from. */

/** A position in the registry file; line and column count from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

/** Where something listens: an IP address (never a name) and a port; port 0 asks the system for a free one. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** A certificate chain and its key, as PEM text. */
export interface KeyPair {
  readonly cert: string
  readonly key: Secret
}

/** What one server may ask of the client; MCP's client capabilities. */
export type ClientFeature = 'elicitation' | 'sampling' | 'roots'

/** How long, and for whom, what a server said may be kept. */
export interface CachePolicy {
  readonly ttlMs: number
  readonly scope: 'private' | 'public'
}

/** Which of a server's items are shown, and under which names. Names and patterns are the server's own (unprefixed). */
export interface Selection {
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  /** Own name → new name; the prefix is put before it afterwards. */
  readonly rename: ReadonlyMap<string, string>
}

/** A header a server wants to see, kept out of every log and every page. */
export interface Credential {
  readonly header: string
  readonly value: Secret
}

/** How we show an OAuth token endpoint who we are. */
export interface OAuthClient {
  /** The token endpoint. */
  readonly token: string
  readonly client: string
  /** Absent: a public client. */
  readonly secret?: Secret
  readonly scopes: readonly string[]
  /** Whom the token is for, as this endpoint wants it said. */
  readonly audience?: string
  readonly resource?: string
  /** PEM certificates to trust at the endpoint instead of the system's. */
  readonly ca?: string
  readonly place: Place
}

/** What people write to say which claims a rule is about; `claim` takes any path. */
export type ClaimKind = 'roles' | 'groups' | 'scopes' | 'subjects' | 'claim'

/** One key of an `allow`: one of its values has to be there. */
export interface Condition {
  readonly of: ClaimKind
  /** For `claim`: where in the claims, such as `realm_access.roles`. Empty for the others. */
  readonly path: string
  /** A scope of several words needs all of them. */
  readonly values: readonly string[]
}

/** What an expression may look at; what does not apply is absent, and looking at it is an error. */
export interface Facts {
  readonly claims: { readonly [name: string]: Json }
  readonly tool?: { readonly name: string; readonly annotations: Readonly<Record<string, boolean>> }
  readonly prompt?: { readonly name: string }
  readonly resource?: { readonly uri: string }
  readonly server: { readonly name: string; readonly description: string }
  readonly request: {
    readonly method: string
    readonly view: string
    readonly era: string
    /** The client's address. */
    readonly address: string
  }
}

/** A CEL expression that was checked. */
export interface Expression {
  readonly source: string
  readonly place: Place
  /** Whether it looks at the client's address, at the method, at the era or at the view. */
  readonly looksAt: ReadonlySet<'address' | 'method' | 'era' | 'view'>
  /** Which of the token's claims it looks at; `any`: the expression alone does not say. */
  readonly claims: ReadonlySet<string> | 'any'
  /** Never throws; an error, and any result but true, is false. */
  readonly holds: (facts: Facts) => boolean
  /** Why it can't be worked out for these facts; undefined: it can. */
  readonly fault: (facts: Facts) => string | undefined
}

/** One entry of an `access`. A kind without patterns, while another has some, is not covered; with none at all everything is. */
export interface Rule {
  readonly place: Place
  /** Such as `servers.github.access[0]`. */
  readonly path: string
  readonly tools?: readonly string[]
  readonly prompts?: readonly string[]
  readonly resources?: readonly string[]
  /** All must hold; none: anyone. */
  readonly allow: readonly Condition[]
  readonly when?: Expression
  /** A human is asked each time. */
  readonly confirm: boolean
}

/** Who may do what. Absent: everything is allowed; present: only what some rule, or some role, allows. */
export type Access =
  | { readonly kind: 'rules'; readonly rules: readonly Rule[] }
  /** The token's roles name the tools; `client`: under which client of the token, when it is not the server's name. */
  | { readonly kind: 'roles'; readonly client?: string; readonly place: Place; readonly path: string }

/** At most so many calls in so long, for each of something. */
export interface Rate {
  readonly calls: number
  readonly perMs: number
  readonly per: 'subject' | 'session' | 'tool'
  readonly place: Place
}

export interface Limits {
  readonly rate?: Rate
  /** Calls of one principal under way at once. */
  readonly concurrent?: number
  /** Streams that one principal holds open. Only the gateway's. */
  readonly streams?: number
  /** Largest request body, in bytes. */
  readonly maxBody?: number
  /** Only a server's: own rates for tools by pattern, the first that matches. */
  readonly tools: readonly { readonly pattern: string; readonly rate: Rate }[]
}

/** A part of what the gateway offers, served at an address of its own; patterns are of exposed names. */
export interface View {
  readonly name: string
  readonly place: Place
  readonly description?: string
  /** Told to its clients in front of the servers' own. */
  readonly instructions?: string
  /** Absent while another kind is given: none of them; all absent: everything. */
  readonly tools?: readonly string[]
  readonly prompts?: readonly string[]
  readonly resources?: readonly string[]
  readonly access?: Access
}

/** Sample claims and what they must allow; run by `validate`. */
export interface PolicyTest {
  readonly name: string
  readonly place: Place
  readonly claims: { readonly [name: string]: Json }
  readonly view: string
  /** Exposed names of tools. */
  readonly allowed: readonly { readonly tool: string; readonly place: Place }[]
  readonly denied: readonly { readonly tool: string; readonly place: Place }[]
}

/** Whose tokens let clients in. */
export interface Auth {
  readonly place: Place
  readonly issuer: string
  readonly audience: string
  /** Where its keys are; `discovered`: the issuer says where. */
  readonly jwks:
    | { readonly kind: 'discovered' }
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'file'; readonly text: string }
  /** The path of the claim that holds the roles; absent: where Keycloak has them. */
  readonly roles?: string
  /** Clocks may differ by so much. */
  readonly skewMs: number
  /** PEM certificates to trust at the issuer instead of the system's. */
  readonly ca?: string
}

/** A URL in the pieces Envoy wants. `path` starts with a slash and includes the query. */
export interface Endpoint {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  readonly path: string
}

/** TLS towards a server, PEM texts; without `ca` the system's certificates count. */
export interface UpstreamTls {
  readonly ca?: string
  readonly client?: KeyPair
  /** Default: the URL's host. */
  readonly sni?: string
}

/** What every server has, however it is reached. */
export interface Served {
  readonly name: string
  /** Where its key stands in the file. */
  readonly place: Place
  readonly description?: string
  readonly enabled: boolean
  readonly required: boolean
  /** Put before the names of tools and prompts, after renaming. */
  readonly prefix: string
  readonly tools: Selection
  readonly prompts: Selection
  /** `prefix: true`: URIs become `<server>+<uri>`. Patterns are matched against the whole URI. */
  readonly resources: Selection & { readonly prefix: boolean }
  readonly client: readonly ClientFeature[]
  /** The era it is spoken to in; absent: found by asking it. */
  readonly era?: 'stateful' | 'stateless'
  /** For what the server itself gives no caching hints for; absent: nothing may be kept. */
  readonly cache?: CachePolicy
  /** What a lock lets in of this server without being asked: tools that are new. Absent: nothing. */
  readonly auto?: 'additive'
  readonly access?: Access
  readonly limits?: Limits
  /** Longest silence of the server on a call. */
  readonly timeoutMs: number
  /** Longest time to fetch one of its lists, all pages. */
  readonly listTimeoutMs: number
}

/** A server reached over HTTP. */
export interface HttpServer extends Served {
  readonly kind: 'http'
  /** `sse`: the HTTP+SSE transport of 2024-11-05, whose URL is that of its event stream. */
  readonly transport: 'streamable' | 'sse'
  readonly endpoint: Endpoint
  readonly credential?: Credential
  /** A token of our own, by client credentials. Never beside `credential`. */
  readonly oauth?: OAuthClient
  /** The caller's token is exchanged for one of this server (RFC 8693); lists are fetched with one of our own. */
  readonly exchange?: OAuthClient
  /** Headers of the client that the server gets, in lower case. */
  readonly forward: readonly string[]
  /** What it offers depends on who asks. */
  readonly perCaller: boolean
  readonly tls: UpstreamTls
}

/** A server we start ourselves and talk to over its standard input and output. */
export interface StdioServer extends Served {
  readonly kind: 'stdio'
  readonly command: string
  readonly args: readonly string[]
  /** Exactly what the author named; nothing of it is inherited. */
  readonly env: ReadonlyMap<string, string>
  /** Absolute. */
  readonly cwd: string
}

export type Server = HttpServer | StdioServer

/** Where the audit log goes: a file's absolute path, or `-` for standard output. */
export interface AuditTarget {
  readonly to: string
  readonly place: Place
}

/** JSON as it was written. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** One of Envoy's HTTP filters, of the operator's own choice. */
export interface PolicyFilter {
  /** What the operator calls it. */
  readonly name: string
  readonly place: Place
  /** The type of its configuration, such as `type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC`. */
  readonly type: string
  /** Nobody but Envoy knows what it means. */
  readonly config: { readonly [key: string]: Json }
}

/** What such filters call, by the name they call it. */
export interface PolicyCluster {
  readonly name: string
  readonly place: Place
  readonly host: string
  readonly port: number
  /** HTTP/2 without asking first, as gRPC needs it. */
  readonly http2: boolean
  readonly tls?: UpstreamTls
}

/** The entrypoint itself. */
export interface Gateway {
  readonly listen: Address
  readonly admin: Address
  /** The public address, when it differs from `listen`. */
  readonly url?: string
  readonly tls?: KeyPair
  /** Origins that browsers may connect from, beside loopback ones. */
  readonly origins: readonly string[]
  readonly open: boolean
  /** Largest request body, in bytes. */
  readonly maxBody: number
  /** In the order requests pass them; at most eight. */
  readonly filters: readonly PolicyFilter[]
  readonly clusters: readonly PolicyCluster[]
  readonly audit?: AuditTarget
  readonly auth?: Auth
  readonly access?: Access
  readonly limits?: Limits
  /** How long a human has to confirm a call. */
  readonly confirmMs: number
}

/** Sessions held at a stateful server on behalf of stateless clients. */
export interface PoolOptions {
  /** The most at one server, those waiting for a client's input among them. */
  readonly size: number
  /** One that nobody used for so long is ended. */
  readonly idleMs: number
  /** How long a call waits for its client to come back with the input it asked for. */
  readonly inputMs: number
}

/** Sessions of clients. */
export interface SessionOptions {
  readonly idleMs: number
  readonly pool: PoolOptions
  /** 32 bytes; absent: a new one at each start. */
  readonly key?: Secret
}

/** A whole registry. Servers stand in the file's order; disabled ones are among them. */
export interface Registry {
  readonly gateway: Gateway
  readonly servers: readonly Server[]
  readonly sessions: SessionOptions
  readonly views: readonly View[]
  readonly tests: readonly PolicyTest[]
  /** What was approved of the servers' tools; absent: everything is. */
  readonly lock?: Lock
}

/** What a tool says of itself that counts when it is pinned; the values are JSON. */
export interface Definition {
  readonly title?: unknown
  readonly description?: unknown
  readonly inputSchema?: unknown
  readonly outputSchema?: unknown
  readonly annotations?: unknown
}

/** A definition that was approved. */
export interface ToolPin {
  /** Of the server's own name for the tool and of its definition, whatever the order of keys. */
  readonly sha256: string
  readonly definition: Definition
}

/** What was approved of one server; tools by its own names. */
export interface ServerPin {
  readonly instructions?: string
  readonly tools: ReadonlyMap<string, ToolPin>
}

/** The content of the file `mcp.lock` beside the registry: server name → what was approved. */
export type Lock = ReadonlyMap<string, ServerPin>

/** Something wrong in a registry, with a place. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  /** The file the place is in, when it is not the registry itself. */
  readonly file?: string
  readonly place: Place
  /** Such as `servers.weather.timeout`. */
  readonly path: string
  readonly message: string
  /** What to do about it, such as `did you mean "timeout"?`. */
  readonly hint?: string
}

/** A text that never shows itself: string conversion, JSON and `console.log` all give `[secret]`. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[secret]'
  }
  toJSON(): string {
    return '[secret]'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}
