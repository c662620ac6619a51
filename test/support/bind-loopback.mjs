/** A `node --import` preload for servers that would listen on every interface: they get 127.0.0.1, and say which port. */
import { Server } from 'node:net'

const listen = Server.prototype.listen

Server.prototype.listen = function (first, ...rest) {
  const port = typeof first === 'object' && first !== null ? first.port : first
  // A Unix socket or an inherited handle is nobody else's to reach.
  if (port === undefined || !/^\d+$/.test(String(port))) return listen.call(this, first, ...rest)
  const options = typeof first === 'object' ? first : {}
  const callbacks = rest.filter((one) => typeof one === 'function')
  this.once('listening', () => console.log(`listening on 127.0.0.1:${this.address().port}`))
  return listen.call(this, { ...options, port: Number(port), host: '127.0.0.1' }, ...callbacks)
}
