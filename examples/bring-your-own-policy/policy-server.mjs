/** A policy server: Envoy's ext_authz asks it about each request; 200 lets it pass, anything else refuses it. */
import { createServer } from 'node:http'

/** Destructive tools are for those who can show a token. */
const allows = ({ authorization, 'x-mcp-annotation-hints': hints = '' }) =>
  !hints.includes('destructive=true') || authorization === 'Bearer of-an-operator'

const server = createServer((request, response) => {
  request.resume()
  response.writeHead(allows(request.headers) ? 200 : 403, { 'content-length': 0 }).end()
})

server.listen(Number(process.env.PORT ?? 9191), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
