/** The filter that lets nobody in without a token of the issuer's, delivered over ECDS. */
import { resourceOf } from '../mcp/protected-resource.ts'
import type { Auth, Registry } from '../registry/model.ts'
import { EDGE_PATH, JWT, JWT_PAYLOAD, NO_KEYS } from './names.ts'
import { noFilter } from './no-filter.ts'
import { any, type Message } from './pack.ts'

const ISSUER = 'issuer'
/** Remembered by each of Envoy's workers, the latest ones. */
const TOKENS = 1000

/** Not the parameters of the query, not a cookie. The name of the scheme has no case (RFC 9110 11.1), but nobody mixes it. */
const fromHeaders = ['Bearer ', 'bearer ', 'BEARER '].map((prefix) => ({ name: 'Authorization', value_prefix: prefix }))

/** Envoy fetches no keys, so that there is one place that does, and that says why it can't. */
const provider = ({ issuer, skewMs }: Auth, jwks: string): Message => ({
  issuer,
  local_jwks: { inline_string: jwks },
  from_headers: fromHeaders,
  forward: true, // the broker verifies it once more
  payload_in_metadata: JWT_PAYLOAD,
  require_expiration: true,
  clock_skew_seconds: Math.ceil(skewMs / 1000),
  // A signature is verified once; the time and the audience at each request. New keys are a new filter, which remembers nothing.
  jwt_cache_config: { jwt_cache_size: TOKENS },
})

/** A token for all of the gateway is good for its views; one for a view is good there only. */
const rule = ({ audience }: Auth, view: string): Message => ({
  match: { path_separated_prefix: resourceOf(EDGE_PATH, view) },
  requires: {
    provider_and_audiences: {
      provider_name: ISSUER,
      audiences: [...new Set([audience, resourceOf(audience, view)])],
    },
  },
})

/** The first rule that matches counts, so views come before what they are below. Whatever is elsewhere needs no token. */
const verifying = (auth: Auth, views: readonly string[], jwks: string): Message =>
  any('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', {
    providers: { [ISSUER]: provider(auth, jwks) },
    rules: [...views, ''].map((view) => rule(auth, view)),
    bypass_cors_preflight: true, // browsers send no token with it
  })

/** Nobody can be told from anybody else. The reply is worded by the policy's name. */
const refusing: Message = any('envoy.extensions.filters.http.rbac.v3.RBAC', {
  rules: {
    action: 'DENY',
    policies: {
      [NO_KEYS]: {
        permissions: [
          { url_path: { path: { exact: EDGE_PATH } } },
          { url_path: { path: { prefix: `${EDGE_PATH}/` } } },
        ],
        principals: [{ any: true }],
      },
    },
  },
})

/** `jwks`: the issuer's public keys; undefined: there are none yet. */
export const jwtFilter = ({ gateway: { auth }, views }: Registry, jwks: string | undefined): Message => ({
  name: JWT,
  typed_config:
    auth === undefined
      ? noFilter
      : jwks === undefined
        ? refusing
        : verifying(
            auth,
            views.map(({ name }) => name),
            jwks,
          ),
})
