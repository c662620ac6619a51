/** docs/registry.md: tables from the schema in code, then the rules that a schema cannot say. */
import type { z } from 'zod'
import { jsonSchema } from '../src/registry/schema.ts'

type Schema = z.core.JSONSchema.BaseSchema
type Node = Schema | boolean | undefined

const whole: Schema = jsonSchema()
const definitions = Object.entries(whole.$defs ?? {})

const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')

const schemaOf = (node: Node): Schema => (typeof node === 'object' ? node : {})

const typeOf = (node: Node): string => {
  const schema = schemaOf(node)
  const name = schema.$ref?.replace('#/$defs/', '')
  if (name !== undefined) return `[${name}](#${anchor(name)})`
  if (schema.enum !== undefined) return schema.enum.map((each) => `\`${String(each)}\``).join(', ')
  if (schema.type === 'array' && !Array.isArray(schema.items)) return `list of ${typeOf(schema.items)}`
  if (schema.type === 'object' && schema.properties === undefined)
    return `map of ${typeOf(schema.additionalProperties)}`
  return schema.type === 'string' ? 'text' : 'keys'
}

const shownDefault = ({ default: value }: Schema, type: string): string => {
  if (value === undefined || type === 'keys' || JSON.stringify(value) === '{}') return ''
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

interface Row {
  readonly key: string
  readonly cells: readonly string[]
}

/** Keys of one map; a map inside it that has no name of its own becomes rows such as `tls.cert`. */
const rows = (schema: Schema, prefix = ''): readonly Row[] =>
  Object.entries(schema.properties ?? {}).flatMap(([key, node]) => {
    const property = schemaOf(node)
    const type = typeOf(property)
    const name = `${prefix}${key}`
    const needed = schema.required?.includes(key) === true ? 'needed' : ''
    const cells = [`\`${name}\``, type, shownDefault(property, type) || needed, property.description ?? '']
    return [{ key: name, cells }, ...(type === 'keys' ? rows(property, `${name}.`) : [])]
  })

const table = (schema: Schema): string =>
  [
    '| key | type | default | meaning |',
    '|---|---|---|---|',
    ...rows(schema).map(({ cells }) => `| ${cells.join(' | ')} |`),
  ].join('\n')

const section = (key: string): Schema => schemaOf(whole.properties?.[key])
const serverSchema = schemaOf(section('servers').additionalProperties)

const sections = (): string =>
  ['| key | type | meaning |', '|---|---|---|']
    .concat(
      Object.entries(whole.properties ?? {}).map(([key, node]) => {
        const type = key === 'servers' ? 'map of [keys](#serversname)' : typeOf(node)
        return `| \`${key}\` | ${type === 'keys' ? `[keys](#${key})` : type} | ${schemaOf(node).description ?? ''} |`
      }),
    )
    .join('\n')

const isMap = ([, node]: readonly [string, Node]): boolean => schemaOf(node).properties !== undefined
const maps = definitions.filter(isMap)
const texts = definitions.filter((definition) => !isMap(definition))

const typesTable = (): string =>
  ['| type | what is written |', '|---|---|']
    .concat(
      texts.map(([name, node]) => `| <a id="${anchor(name)}"></a>${name} | ${schemaOf(node).description ?? ''} |`),
    )
    .join('\n')

const mapSection = ([name, node]: readonly [string, Node]): string =>
  `### ${name}\n${schemaOf(node).description ?? ''}\n\n${table(schemaOf(node))}`

const example = `\`\`\`yaml
# yaml-language-server: $schema=../schema/registry.json
gateway:
  listen: 127.0.0.1:8080
  url: https://mcp.example.com/mcp
  auth: { issuer: https://idp.example.com/realms/tools }
servers:
  weather:
    url: https://weather.example.com/mcp
    credential: { bearer: "\${WEATHER_TOKEN}" }
  files:
    command: npx
    args: [-y, "@modelcontextprotocol/server-filesystem", ./data]
    access: roles
  github:
    url: https://github.example.com/mcp
    prefix: gh_
    credential: { header: X-Api-Key, value: { file: github.key } }
    tools: { include: ["*"], exclude: ["delete_*"], rename: { search_code: find_code } }
    access:
      - tools: ["get_*", "search_*"]
        allow: { groups: [dev, platform] }
      - tools: "merge_*"
        allow: { groups: platform }
        confirm: true
      - when: claims.email.endsWith('@example.com') && tool.annotations.readOnlyHint
    limits: { calls: 10/s, tools: { "search_*": { calls: 30/m } } }
    timeout: 30s
views:
  oncall: { tools: ["gh_*", weather_now] }
sessions: { idle: 2h, key: "\${SESSION_KEY}" }
tests:
  - name: a developer
    claims: { sub: ann, groups: [dev], email: ann@example.org }
    allowed: [gh_find_code]
    denied: [gh_merge_pull_request]
\`\`\``

const rules = `## Rules
### Problems
A problem is one line: \`registry.yaml:4:5: error: servers.weather.timout: unknown key "timout", did you mean "timeout"?\`.
All problems are shown at once. Errors keep the file from being used; warnings do not. A broken file changes nothing in a
running gateway. Messages never repeat values, so that none of them can show a secret.

### Variables
\`\${NAME}\` and \`\${NAME:-default}\` are replaced in values, not in keys, after the YAML is read: what a variable says is never
YAML. The default counts when the variable is not set or empty; without a default a variable that is not set is an error.
\`$\${\` is a literal \`\${\`. Inside \`{ }\` and \`[ ]\` a value with a variable must be quoted: \`{ bearer: "\${TOKEN}" }\`.

### Secrets
A [secret](#secret) is a text or \`{ file: path }\`. It never appears in logs, in the output of \`render\`, in \`/status\` or in an
error. Files that the registry refers to are watched too: a new certificate or token is applied when its file changes.

### Names and patterns
\`include\`, \`exclude\` and \`rename\` use the server's own names; the prefix is put in front afterwards. A pattern is a whole
name in which \`*\` stands for any characters; case counts; \`exclude\` wins over \`include\`. \`rename\` takes whole names. A server's
\`access\` and \`limits\` use its own names too; \`gateway.access\`, \`views\` and \`tests\` the names that clients see. Two
servers may have the same tool name only when their prefixes differ; otherwise the first one wins and the other is reported.

### Rules of access
Without \`access\` everything is allowed. With it, only what a rule allows is: of the gateway's rules (\`gateway.access\`), of the
server's and of the view's, each that has any must allow a request. Lists show exactly what may be used. Rules have no order: one
that allows is enough, and if any that allows says \`confirm\`, a human is asked. All keys of an \`allow\` must hold, of the values
of a key one is enough; \`allow\` and \`when\` must both hold. A claim that is missing, and an expression that fails, allow nothing.

\`when\` is an expression in [CEL](https://cel.dev). It may look at

| variable | what it has |
|---|---|
| \`claims\` | what the token says; \`has(claims.x)\` asks whether it says anything of \`x\` |
| \`tool\` | \`name\` and \`annotations\` with \`readOnlyHint\`, \`destructiveHint\`, \`idempotentHint\`, \`openWorldHint\`, as far as the server gives them |
| \`prompt\` | \`name\` |
| \`resource\` | \`uri\` |
| \`server\` | \`name\` and \`description\`, as written here |
| \`request\` | \`method\`, \`view\`, \`era\` (\`stateful\` or \`stateless\`) and the client's \`address\` |

Of \`tool\`, \`prompt\` and \`resource\` only the one that is asked for is there. An expression never sees arguments, so that what a
list shows can be what a call may do. Annotations are the server's own word. \`matches\` takes a pattern in quotes that repeats no
group with choices or repetitions in it, and no URI of more than 2,048 characters.

With \`access: roles\` a server's tool \`T\` is allowed to a token whose \`resource_access.<server>.roles\` has \`tool:T\`, a prompt
with \`prompt:\`, a resource with \`resource:\` before its URI; a role that ends in \`*\` allows all that start with the rest.

### Samples of claims
\`tests\` say what rules must come to: \`mcp-gateway validate\` fails when a sample may use what it must not, or the other way round.
A claim in a sample that no rule looks at is likely mistyped, and warned of.

### Addresses
\`listen\` beyond loopback needs \`auth\` or \`open: true\`, \`admin\` always \`open: true\`: otherwise anybody who reaches them could
use them. \`listen\`, \`admin\`
and turning TLS on or off need a restart; everything else is applied when the file is saved. The command line wins over
the file.

### Policy of your own
\`filters\` are Envoy's HTTP filters, as its documentation writes them. They decide on what the gateway publishes about a
request: [policy-contract.md](policy-contract.md) says what that is, and shows OPA and Authorino. In \`typed_config\` numbers, \`true\`
and \`false\` keep the kind they were written as, so that a text that looks like one must be quoted; variables are replaced
there too, but nothing in it counts as a secret: \`render\`, \`/status\` and the log may show it. Whether a filter makes sense only Envoy
knows: one that it refuses is reported at its line, and the last good one stays in force; without one every request gets 503.

### Eras
Clients of both eras of MCP see every server, whichever era it speaks. Without \`era\` a server is asked (\`server/discover\` and
\`initialize\`); one that speaks both is spoken to in each client's own. With \`era\` it is spoken to in that one alone. A server
with \`transport: sse\` is always stateful. What is lost between a client and a server of different eras stands in
[translation.md](translation.md).

### Sessions of stateless clients
A stateless client has no session, a stateful server needs one: the gateway keeps some (\`sessions.pool\`) and uses each for one
call at a time. A call that waits for its client's input keeps its session for at most \`pool.input\`. When all \`pool.size\`
sessions of a server are in use, further calls are refused with the advice to come back.

### YAML
A registry is one YAML 1.2 document. Anchors and aliases may be used; tags and merge keys (\`<<\`) are errors, and so is a
duplicate key. Paths are relative to the registry file; a \`command\` with a slash in it is such a path.
`

/** The whole page. */
export const registryPage = (): string =>
  [
    '# The registry file',
    '<!-- Generated from src/registry/schema.ts by npm run generate. -->',
    'One YAML file says which MCP servers stand behind the gateway. Editors check it with `schema/registry.json`.',
    example,
    `## Sections\n${sections()}`,
    ...['gateway', 'defaults', 'sessions'].map(
      (key) => `## ${key}\n${section(key).description ?? ''}\n\n${table(section(key))}`,
    ),
    `## servers.\\<name\\>\n${section('servers').description ?? ''}\n\n${table(serverSchema)}`,
    `## Groups of keys\n\n${maps.map(mapSection).join('\n\n')}`,
    `## Types\n\n${typesTable()}`,
    rules,
  ].join('\n\n')
