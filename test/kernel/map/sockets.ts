/** TCP connections of this process, with the descriptors that maps of sockets take. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { OwnsFd } from "../../../src/kernel/map.ts";

/** A connection over loopback: both of its ends. */
export interface Connection extends AsyncDisposable {
  readonly client: Socket;
  readonly server: Socket;
  readonly listener: Server;
}

/** Connects. */
export async function openConnection(): Promise<Connection> {
  const listener = createServer();
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { readonly port: number };
  const accepted = once(listener, "connection");
  const client = connect(port, "127.0.0.1");
  const [[server]] = (await Promise.all([accepted, once(client, "connect")])) as [[Socket], unknown];
  return {
    client,
    server,
    listener,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      server.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}

/** The descriptor behind a socket of Node.js, which keeps it to itself. */
export function ownFd(socket: Socket | Server): OwnsFd {
  return (socket as unknown as { readonly _handle: OwnsFd })._handle;
}
