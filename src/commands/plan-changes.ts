/** What another registry would change: servers, rules, tools, what each sample of `tests:` may call, and Envoy's resources. */
import { type KnownTools, type Offer, offers } from '../catalog/offer.ts'
import type { Era } from '../mcp/versions.ts'
import { judge } from '../policy/judge.ts'
import { type Policy, policyOf } from '../policy/policy.ts'
import { sampleOf } from '../policy/principal.ts'
import type { Access, PolicyTest, Registry, Rule } from '../registry/model.ts'
import type { Snapshot } from '../xds/snapshot.ts'

export interface Difference {
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

/** What somebody with a sample's claims gains and loses, of the tools that servers are known to have. */
export interface SampleChange extends Difference {
  readonly test: string
  /** Callable before and after, but now a human has to confirm it, or no longer. */
  readonly confirmed: readonly string[]
  readonly unconfirmed: readonly string[]
}

export interface PlanChanges {
  readonly tools: Difference
  readonly rules: Difference
  /** In the order of the file; those that nothing changes for are left out. */
  readonly samples: readonly SampleChange[]
  /** Names such as `Cluster mcp.weather`. */
  readonly resources: Difference & { readonly changed: readonly string[] }
  /** Enabled servers of the new registry whose tools nobody knows. */
  readonly unknown: readonly string[]
}

/** One of the two registries, with what Envoy gets of it. */
export interface Side {
  readonly registry: Registry
  readonly snapshot: Snapshot
}

export const planChanges = (before: Side, after: Side, known: KnownTools): PlanChanges => {
  const old = judged(before.registry, known)
  const next = judged(after.registry, known)
  const enabled = after.registry.servers.filter((server) => server.enabled)
  return {
    tools: difference(shown(old.offers), shown(next.offers)),
    rules: difference(rulesOf(before.registry), rulesOf(after.registry)),
    samples: after.registry.tests
      .map((test) => sampleChange(test, old, next))
      .filter((change) => Object.values(change).some((value) => Array.isArray(value) && value.length > 0)),
    resources: resourceChanges(before.snapshot, after.snapshot),
    unknown: enabled.map(({ name }) => name).filter((name) => !known.has(name)),
  }
}

const difference = (before: readonly string[], after: readonly string[]): Difference => {
  const [old, now] = [new Set(before), new Set(after)]
  return { added: [...now].filter((one) => !old.has(one)), removed: [...old].filter((one) => !now.has(one)) }
}

type Offers = ReadonlyMap<string, Offer>

/** What decides about the samples of a registry. */
interface Judged {
  readonly policy: Policy
  readonly offers: Offers
}

const judged = (registry: Registry, known: KnownTools): Judged => ({
  policy: policyOf(registry),
  offers: offers(registry, known),
})

const shown = (all: Offers): readonly string[] =>
  [...all.values()].filter(({ withheld }) => withheld === undefined).map(({ exposed }) => exposed)

/** Tool → whether a human has to confirm it; tools that may not be called are not in it. */
const callable = ({ policy, offers: all }: Judged, { claims, view }: PolicyTest, era: Era): Map<string, boolean> => {
  if (view !== '' && !policy.views.has(view)) return new Map()
  const asker = { principal: sampleOf(claims), view, era, address: '' }
  return new Map(
    [...all.values()].flatMap((offer): readonly (readonly [string, boolean])[] => {
      if (offer.withheld !== undefined) return []
      const verdict = judge(policy, asker, 'tools/call', 'tools', offer)
      return verdict.allowed ? [[offer.exposed, verdict.confirm]] : []
    }),
  )
}

type Gains = Omit<SampleChange, 'test'>

const sampleChange = (test: PolicyTest, before: Judged, after: Judged): SampleChange => {
  const of = (era: Era): Gains => {
    const old = callable(before, test, era)
    const now = callable(after, test, era)
    const both = [...now.keys()].filter((tool) => old.has(tool))
    return {
      ...difference([...old.keys()], [...now.keys()]),
      confirmed: both.filter((tool) => now.get(tool) === true && old.get(tool) === false),
      unconfirmed: both.filter((tool) => now.get(tool) === false && old.get(tool) === true),
    }
  }
  const [stateful, stateless] = [of('stateful'), of('stateless')]
  const inBoth = (what: keyof Gains): readonly string[] => together(stateful[what], stateless[what])
  return {
    test: test.name,
    added: inBoth('added'),
    removed: inBoth('removed'),
    confirmed: inBoth('confirmed'),
    unconfirmed: inBoth('unconfirmed'),
  }
}

/** Rules may look at the era. */
const together = (stateful: readonly string[], stateless: readonly string[]): readonly string[] => [
  ...stateful.map((tool) => (stateless.includes(tool) ? tool : `${tool} (stateful clients)`)),
  ...stateless.filter((tool) => !stateful.includes(tool)).map((tool) => `${tool} (stateless clients)`),
]

/** Every rule in one line, under where it stands; a rule that moved within its list is the same. */
const rulesOf = ({ gateway, servers, views }: Registry): readonly string[] => [
  ...accessText('gateway.access', gateway.access),
  ...servers.flatMap(({ name, access }) => accessText(`servers.${name}.access`, access)),
  ...views.flatMap(({ name, access, tools, prompts, resources }) => [
    `views.${name}: ${kindsText({ tools, prompts, resources })}`,
    ...accessText(`views.${name}.access`, access),
  ]),
]

const accessText = (path: string, access: Access | undefined): readonly string[] => {
  if (access === undefined) return []
  if (access.kind === 'roles')
    return [`${path}: roles${access.client === undefined ? '' : ` of client ${access.client}`}`]
  return access.rules.map((rule) => `${path}: ${ruleText(rule)}`)
}

type Kinds = { readonly [Kind in 'tools' | 'prompts' | 'resources']?: readonly string[] | undefined }

const kindsText = (kinds: Kinds): string => {
  const said = (['tools', 'prompts', 'resources'] as const).flatMap((kind) => {
    const patterns = kinds[kind]
    return patterns === undefined ? [] : [`${kind} ${patterns.join(', ')}`]
  })
  return said.length === 0 ? 'everything' : said.join('; ')
}

const ruleText = (rule: Rule): string => {
  const conditions = rule.allow.map(({ of, path, values }) => `${of === 'claim' ? path : of} ${values.join(' or ')}`)
  const when = rule.when === undefined ? [] : [`when ${rule.when.source}`]
  const who = [...conditions, ...when]
  return `${kindsText(rule)} for ${who.length === 0 ? 'anyone' : who.join(' and ')}${rule.confirm ? ', confirmed by a human' : ''}`
}

/** `type.googleapis.com/envoy.config.cluster.v3.Cluster` → `Cluster`. */
const shortType = (url: string): string => url.slice(url.lastIndexOf('.') + 1)

const resourceChanges = (before: Snapshot, after: Snapshot): PlanChanges['resources'] => {
  const versions = ({ types }: Snapshot): ReadonlyMap<string, string> =>
    new Map(
      [...types].flatMap(([url, entries]) =>
        [...entries].map(([name, { version }]) => [`${shortType(url)} ${name}`, version] as const),
      ),
    )
  const [old, now] = [versions(before), versions(after)]
  return {
    ...difference([...old.keys()], [...now.keys()]),
    changed: [...now].filter(([name, version]) => old.has(name) && old.get(name) !== version).map(([name]) => name),
  }
}
