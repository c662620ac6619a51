/** The names of our resources: a contract between Envoy, ext_proc and the broker. */

/** The listener agents connect to, and its routes. */
export const EDGE = 'mcp_edge'
/** Where MCP is on it; views are below. */
export const EDGE_PATH = '/mcp'
/** The listener the broker reaches servers through, and its routes. */
export const INNER = 'mcp_inner'
/** The filter slot, its configuration and its cluster. */
export const EXT_PROC = 'mcp_ext_proc'
export const BROKER = 'mcp.broker'
/** The slots that decide whose requests are let in, and how many of them. */
export const JWT = 'mcp_jwt'
export const LIMITS = 'mcp_limits'
/** The policy that refuses everybody while there are no keys to verify tokens with; a reply's details have its name. */
export const NO_KEYS = 'mcp_no_keys'
/** A cluster without hosts: where every request ends that nobody decided about. */
export const CLOSED = 'mcp.closed'
/** The management server; the only cluster in the bootstrap. */
export const XDS = 'xds_cluster'

/** Where one of the operator's own filters goes, counted from 0; the configuration in it has the same name. */
export const filterSlot = (index: number): string => `mcp_filter_${index + 1}`

export const EDGE_CERTIFICATE = 'edge_cert'

/** A server's cluster, as the broker reaches it through the inner listener. */
export const serverCluster = (server: string): string => `mcp.${server}`
/** The same server as clients reach it: with the broker behind it for one retry. */
export const directCluster = (server: string): string => `direct.${server}`

export const credentialSecret = (server: string): string => `cred.${server}`
export const caSecret = (server: string): string => `ca.${server}`
export const clientSecret = (server: string): string => `client.${server}`

/** The namespace of what ext_proc publishes about a request, and Envoy's own MCP filter's, which it fills as well. */
export const METADATA = 'mcp.gateway'
export const MCP_METADATA = 'envoy.filters.http.mcp'
/** The namespace and the key under which Envoy's own filter publishes what a verified token says. */
export const JWT_METADATA = 'envoy.filters.http.jwt_authn'
export const JWT_PAYLOAD = 'jwt'

/** What a route's metadata holds for a client without a token, and for one with a token that is not good. */
export const NO_TOKEN = 'no_token'
export const BAD_TOKEN = 'bad_token'
