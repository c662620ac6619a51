/** The part of the schema that says who may do what, how much of it, and what must come out of that. */
import { z } from 'zod'
import { bad, good } from './form.ts'
import { count, duration, flag, path, patterns, rate, size, text, word, words } from './schema-forms.ts'
import { readSecureUrl } from './url.ts'

/** One word that a key may hold beside other forms: as a text with a meaning, other forms of it stay recognisable. */
const only = <Word extends string>(meant: Word, forms: string = meant, hint?: string) =>
  text((written) => (written === meant ? good(meant) : bad(`must be ${forms}`, near(written, meant) ?? hint))).meta({
    enum: [meant],
  })

const near = (written: string, meant: string): string | undefined =>
  written.toLowerCase() === meant.toLowerCase() ? `did you mean "${meant}"?` : undefined

export const auth = z
  .strictObject({
    issuer: text(readSecureUrl).describe("Who issues the tokens, exactly as the tokens' `iss` says it."),
    audience: word
      .optional()
      .describe("Whom tokens must be for (`aud`); default: `gateway.url`. A view's own is `<audience>/<view>`."),
    jwks: z
      .string()
      .optional()
      .describe("The URL or the file of the issuer's keys (JWKS); default: the issuer's metadata says where they are."),
    roles: z
      .string()
      .optional()
      .describe(
        'The path of the claim that holds the roles, such as `claims.permissions`; default: `realm_access.roles` and `roles`, and for `access: roles` `resource_access.<client>.roles`.',
      ),
    skew: duration.prefault('60s').describe('How much clocks may differ, at most `5m`.'),
    ca: path.optional().describe("PEM certificates to trust at the issuer instead of the system's."),
  })
  .meta({ id: 'auth', description: 'Whose tokens let clients in; without it anybody who can connect is let in.' })

const conditions = z
  .strictObject({
    roles: words.optional().describe('One of these roles.'),
    groups: words.optional().describe('One of these groups (claim `groups`).'),
    scopes: words
      .optional()
      .describe('One of these scopes (claim `scope` or `scp`); one with spaces needs all its words.'),
    subjects: words.optional().describe('One of these subjects (claim `sub`).'),
    claims: z
      .record(z.string(), words)
      .optional()
      .describe('Any claims by their path, such as `{ org.team: [red, blue] }`: one of the values of each.'),
  })
  .meta({
    id: 'conditions',
    description:
      'What the token must say. Every key must hold; of its values one is enough. A claim that is one text counts as a list of one.',
  })
const allow = z.union([only('anyone', 'anyone or conditions', 'such as { groups: dev }'), conditions]).meta({
  id: 'allow',
  description: '`anyone`, or [conditions](#conditions) on what the token says.',
})
const rule = z
  .strictObject({
    tools: patterns.optional().describe('Tools it is about.'),
    prompts: patterns.optional().describe('Prompts it is about.'),
    resources: patterns.optional().describe('Resources it is about, by their URIs.'),
    allow: allow.optional().describe('Whom it allows them.'),
    when: z.string().optional().describe('An expression in [CEL](#rules-of-access) that must be true as well.'),
    confirm: flag.prefault('false').describe('`true`: a human is asked each time, by elicitation.'),
  })
  .meta({
    id: 'rule',
    description:
      'Needs `allow` or `when`. Without `tools`, `prompts` and `resources` it is about everything; with one of them about that alone.',
    anyOf: [{ required: ['allow'] }, { required: ['when'] }],
  })
export const rules = z.array(rule)

export const serverAccess = z
  .union([
    only('roles', 'roles, { roles: client } or a list of rules'),
    z.strictObject({
      roles: z.string().describe("The client of the token whose roles count; default: the server's name."),
    }),
    rules,
  ])
  .meta({
    id: 'access',
    description:
      'A list of [rules](#rule); or `roles`: the token names what it may do, in `resource_access.<client>.roles`, as `tool:<name>`, `prompt:<name>`, `resource:<uri>`; a trailing `*` stands for any end.',
  })

const per = z.enum(['subject', 'session', 'tool']).optional()
const perMeaning = 'For each of what: `subject`, `session` or `tool`; default: `subject`.'
const toolLimit = z
  .strictObject({
    calls: rate.describe('The most calls in a time.'),
    per: per.describe(perMeaning),
  })
  .meta({ id: 'tool limits', description: 'How often some tools may be called.' })
export const gatewayLimits = z
  .strictObject({
    calls: rate.optional().describe('The most calls in a time, all servers together.'),
    per: per.describe(perMeaning),
    concurrent: count.optional().describe('The most calls under way at once, for each principal.'),
    streams: count.optional().describe('The most streams held open at once, by each principal.'),
  })
  .meta({
    id: 'gateway limits',
    description: 'How much each may ask of the gateway.',
    dependentRequired: { per: ['calls'] },
  })
export const serverLimits = z
  .strictObject({
    calls: rate.optional().describe('The most calls in a time.'),
    per: per.describe(perMeaning),
    concurrent: count.optional().describe('The most calls under way at once, for each principal.'),
    body: size.optional().describe('The largest request body, from `1KiB`; at most `gateway.maxBody`.'),
    tools: z
      .record(z.string(), toolLimit)
      .prefault({})
      .describe(
        "Own rates for tools, by a pattern of the server's own names; the first that matches counts, beside the server's.",
      ),
  })
  .meta({
    id: 'limits',
    description: 'How much each may ask of the server.',
    dependentRequired: { per: ['calls'] },
  })

export const view = z
  .strictObject({
    tools: patterns.optional().describe('Tools in it.'),
    prompts: patterns.optional().describe('Prompts in it.'),
    resources: patterns.optional().describe('Resources in it, by their URIs.'),
    access: rules.optional().describe("Who may do what here, beside the gateway's and the servers' own rules."),
    description: z.string().optional().describe('Shown on the status page.'),
    instructions: z.string().optional().describe("Told to its clients in front of the servers' own."),
  })
  .meta({
    id: 'view',
    description:
      'Names and patterns are those that clients see. Without `tools`, `prompts` and `resources` it holds everything; with one of them that alone.',
  })

export const defaults = z.strictObject({
  access: only('roles').optional().describe('For every server without `access` of its own.'),
})

const sampleClaims = z.union([path, z.record(z.string(), z.unknown())]).meta({
  id: 'claims',
  description:
    'Keys and values as a token has them, in which numbers, `true` and `false` keep the kind they are written as; or the path of a JSON file.',
})

export const policyTest = z
  .strictObject({
    name: z.string().optional().describe('What messages call it; default: `tests[0]` and so on.'),
    claims: sampleClaims.describe('What a token says.'),
    view: z.string().optional().describe('The view it is about; default: all of the gateway.'),
    allowed: z.array(word).prefault([]).describe('Tools that must be allowed, by the names clients see.'),
    denied: z.array(word).prefault([]).describe('Tools that must be denied.'),
  })
  .meta({ id: 'test', description: 'Sample claims and what must come of them; `validate` runs them.' })

export type AuthSheet = z.output<typeof auth>
export type RuleSheet = z.output<typeof rule>
export type ConditionsSheet = z.output<typeof conditions>
export type AccessSheet = z.output<typeof serverAccess>
export type GatewayLimitsSheet = z.output<typeof gatewayLimits>
export type ServerLimitsSheet = z.output<typeof serverLimits>
export type ViewSheet = z.output<typeof view>
export type PolicyTestSheet = z.output<typeof policyTest>
