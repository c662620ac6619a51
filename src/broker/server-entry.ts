/** What two entries of the registry have in common, when both are of a server with the same name. */
import type { OAuthClient, Server } from '../registry/model.ts'

/**
 * What makes two entries the same conversation, so that sessions, streams and calls go on: names, patterns, time limits,
 * credential and certificates may differ; address, command, what it may ask of clients and whether it knows them may not.
 */
export const conversation = (server: Server): string => {
  const shared = [server.kind, [...server.client].sort()]
  return server.kind === 'http'
    ? JSON.stringify([
        ...shared,
        server.endpoint,
        server.transport,
        server.perCaller,
        server.forward,
        atEndpoint(server.exchange),
      ])
    : JSON.stringify([...shared, server.command, server.args, [...server.env], server.cwd])
}

/** What we show a server to be let in, and what it has to show: with another one, a server that was down may be up. */
export const showing = (server: Server): string =>
  server.kind === 'http'
    ? JSON.stringify([
        server.credential?.header,
        server.credential?.value.reveal(),
        secretly(server.oauth),
        secretly(server.exchange),
        server.tls.ca,
        server.tls.sni,
        server.tls.client?.cert,
        server.tls.client?.key.reveal(),
      ])
    : ''

/** What its tokens are worth, however we show who we are. */
const atEndpoint = (client: OAuthClient | undefined): object | undefined =>
  client && { ...client, secret: undefined, ca: undefined, place: undefined }

/** For comparison only. */
const secretly = (client: OAuthClient | undefined): object | undefined =>
  client && { ...client, secret: client.secret?.reveal(), place: undefined }
