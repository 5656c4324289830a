import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { openLink } from "../../../src/kernel/link/open.ts";
import { attachReuseport, attachSocketFilter } from "../../../src/kernel/link/socket.ts";
import { attachSockmap } from "../../../src/kernel/link/sockmap.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { UnsupportedError } from "../../../src/kernel/unsupported.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { bpf_cmd } from "../../../src/uapi/bpf.ts";
import { AF_INET, SO_REUSEPORT, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET } from "../../../src/uapi/net.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, counter, pinDirectory } from "./support.ts";

const ALL = 0xffff; // bytes of the packet that the socket gets
const SK_PASS = 1;
const O_NONBLOCK = 0o4000;

describeKernel("socket options", () => {
  const sys = tracedSyscalls();

  /** A UDP socket on loopback that does not wait for what does not come. */
  const udp = (port = 0, reuse = false): Fd => {
    const number = check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | O_NONBLOCK, 0), "socket");
    const socket = Fd.own(sys, number, "UDP socket");
    if (reuse)
      check(sys.setsockopt(number, SOL_SOCKET, SO_REUSEPORT, new Uint8Array([1, 0, 0, 0])), "setsockopt");
    check(sys.bind(number, address(port)), "bind");
    return socket;
  };
  const address = (port: number): Uint8Array =>
    new Uint8Array([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const portOf = (socket: Fd): number => {
    const name = new Uint8Array(16);
    check(sys.getsockname(socket.number, name), "getsockname");
    return ((name[2] ?? 0) << 8) | (name[3] ?? 0);
  };
  const send = (from: Fd, port: number): number =>
    check(sys.sendto(from.number, new Uint8Array(20), 0, address(port)), "sendto");
  const received = (socket: Fd): number => sys.recv(socket.number, new Uint8Array(100), 0);

  test("a filter decides what a socket gets; another one takes its place", () => {
    using receiver = udp();
    using sender = udp();
    const port = portOf(receiver);
    using pass = counter(sys, "socket_filter", "pass", { returns: ALL });
    using drop = counter(sys, "socket_filter", "drop", { returns: 0 });
    using link = attachSocketFilter(pass.prog, receiver.number, { sys });
    send(sender, port);
    expect(received(receiver)).toBe(20);
    expect(pass.count()).toBe(1);
    expect(link).toMatchObject({ kind: "socket_filter", id: undefined });
    expect(link.info()).toEqual({ kind: "socket_filter", id: undefined, progId: pass.prog.info().id });
    link.update(drop.prog);
    send(sender, port);
    expect(received(receiver)).toBeLessThan(0);
    expect([pass.count(), drop.count()]).toEqual([1, 1]);
    link.detach();
    send(sender, port);
    expect(received(receiver)).toBe(20);
    expect(drop.count()).toBe(1);
  });

  test("what it cannot do, it says", () => {
    using receiver = udp();
    using pass = counter(sys, "socket_filter", "pass", { returns: ALL });
    using link = attachSocketFilter(pass.prog, receiver.number, { sys });
    expect(() => link.pin("/sys/fs/bpf/never")).toThrow(UnsupportedError);
    expect(() => link.pin("/sys/fs/bpf/never")).toThrow(
      `cannot pin the filter of socket ${receiver.number} to /sys/fs/bpf/never: there is no bpf_link behind it`,
    );
    expect(() => link.update(pass.prog, { expected: pass.prog })).toThrow(
      "The kernel replaces whatever is there: leave expected out.",
    );
    using odd = counter(sys, "xdp", "odd");
    expect(() => attachSocketFilter(odd.prog, receiver.number, { sys })).toThrow(
      /^cannot attach 'odd' to socket \d+: EINVAL\n {2}setsockopt\(SO_ATTACH_BPF\) failed: .*\n {2}It takes a program of type socket_filter\.$/,
    );
    expect(() => attachSocketFilter(pass.prog, pass.prog.fd, { sys })).toThrow(
      "The descriptor is not that of a socket.",
    );
  });

  test("closing leaves another socket alone that has the number by now", () => {
    using pass = counter(sys, "socket_filter", "pass", { returns: ALL });
    const first = udp();
    const number = first.number;
    const link = attachSocketFilter(pass.prog, number, { sys });
    first.close();
    using second = udp();
    expect(second.number).toBe(number);
    using drop = counter(sys, "socket_filter", "drop", { returns: 0 });
    using _other = attachSocketFilter(drop.prog, number, { sys });
    link.close();
    using sender = udp();
    send(sender, portOf(second));
    expect(drop.count()).toBe(1);
  });

  test("a choice among sockets that share an address", () => {
    using a = udp(0, true);
    const port = portOf(a);
    using b = udp(port, true);
    using sender = udp();
    using choose = counter(sys, "sk_reuseport", "choose", {
      attachType: "sk_reuseport_select",
      returns: SK_PASS,
    });
    using other = counter(sys, "sk_reuseport", "other", {
      attachType: "sk_reuseport_select",
      returns: SK_PASS,
    });
    using link = attachReuseport(choose.prog, a.number, { sys });
    send(sender, port);
    expect(choose.count()).toBe(1);
    expect(Math.max(received(a), received(b))).toBe(20);
    link.update(other.prog);
    send(sender, port);
    expect([choose.count(), other.count()]).toEqual([1, 1]);
    link.detach();
    send(sender, port);
    expect(other.count()).toBe(1);
  });
});

describeKernel("links of socket maps", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const def = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u32, maxEntries: 4 });

  /** A TCP connection to ourselves: the descriptor of a Node.js socket is in its handle. */
  const connection = async (): Promise<
    AsyncDisposable & { readonly client: Socket; readonly server: Socket }
  > => {
    const listener = createServer();
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const client = connect((listener.address() as { port: number }).port, "127.0.0.1");
    const [server] = (await once(listener, "connection")) as [Socket];
    listener.close();
    return {
      client,
      server,
      async [Symbol.asyncDispose]() {
        client.destroy();
        server.destroy();
        await Promise.all([once(client, "close"), once(server, "close")]);
      },
    };
  };
  const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;
  const echo = async (client: Socket, server: Socket): Promise<string> => {
    client.write("hello");
    const [data] = (await once(server, "data")) as [Buffer];
    return data.toString();
  };

  /** A socket has the programs that the map had when it was put in. */
  const putAgain = (
    map: { delete(key: number): boolean; set(key: number, fd: number): void },
    fd: number,
  ): void => {
    map.delete(0);
    map.set(0, fd);
  };

  test.each([
    ["sk_msg", "sk_msg_verdict"],
    ["sk_skb", "sk_skb_verdict"],
  ] as const)("%s sees what goes through the sockets in the map", async (type, attachType) => {
    await using tcp = await connection();
    using map = BpfMap.create(def, { sys });
    using seen = counter(sys, type, "seen", { attachType, returns: SK_PASS });
    using other = counter(sys, type, "other", { attachType, returns: SK_PASS });
    using link = attachSockmap(seen.prog, map, { sys });
    map.set(0, fdOf(type === "sk_msg" ? tcp.client : tcp.server));
    expect(await echo(tcp.client, tcp.server)).toBe("hello");
    expect(seen.count()).toBeGreaterThan(0);
    expect(link.info()).toEqual({
      kind: "sockmap",
      id: link.id,
      progId: seen.prog.info().id,
      mapId: map.info().id,
      attachType,
    });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "sockmap", map_id: map.info().id });
    const before = seen.count();
    link.update(other.prog, { expected: seen.prog });
    link.pin(pin(attachType));
    link.close();
    putAgain(map, fdOf(type === "sk_msg" ? tcp.client : tcp.server));
    await echo(tcp.client, tcp.server);
    expect(seen.count()).toBe(before);
    expect(other.count()).toBeGreaterThan(0);
    using again = openLink(pin(attachType), { sys });
    again.detach();
    expect(again.info()).toMatchObject({ mapId: undefined });
  });

  test("without links, as before kernel 6.10", async () => {
    await using tcp = await connection();
    using map = BpfMap.create(def, { sys });
    using seen = counter(sys, "sk_msg", "seen", { attachType: "sk_msg_verdict", returns: SK_PASS });
    using other = counter(sys, "sk_msg", "other", { attachType: "sk_msg_verdict", returns: SK_PASS });
    const old = {
      ...sys,
      bpf: (cmd: number, attr: Uint8Array) => (cmd === bpf_cmd.BPF_LINK_CREATE ? -22 : sys.bpf(cmd, attr)),
    };
    const options = { sys: old, attachType: "sk_msg_verdict" } as const;
    using link = attachSockmap(seen.prog, map, options);
    expect(link.id).toBeUndefined();
    map.set(0, fdOf(tcp.client));
    await echo(tcp.client, tcp.server);
    expect(seen.count()).toBe(1);
    link.update(other.prog);
    putAgain(map, fdOf(tcp.client));
    await echo(tcp.client, tcp.server);
    expect([seen.count(), other.count()]).toEqual([1, 1]);
    expect(link.info()).toMatchObject({ progId: other.prog.info().id, attachType: "sk_msg_verdict" });
    expect(() => link.update(seen.prog, { expected: other.prog })).toThrow(UnsupportedError);
    link.close();
    expect(() => attachSockmap(seen.prog, map, { ...options, as: "link" })).toThrow(
      /^cannot attach 'seen' to sk_msg_verdict of map 'sockets': this kernel has no links of socket maps\n/,
    );
  });

  test("a map of another type, a place that is taken", () => {
    using map = BpfMap.create(def, { sys });
    using seen = counter(sys, "sk_msg", "seen", { attachType: "sk_msg_verdict", returns: SK_PASS });
    using hash = BpfMap.create(mapDef({ name: "hash", type: "hash", key: u32, value: u32, maxEntries: 4 }), {
      sys,
    });
    expect(() => attachSockmap(seen.prog, hash, { sys, attachType: "sk_msg_verdict" })).toThrow(
      /^cannot attach 'seen' to sk_msg_verdict of map 'hash': (EINVAL|EOPNOTSUPP)\n.*\n {2}It takes a .*map of/,
    );
    using odd = counter(sys, "xdp", "odd");
    expect(() => attachSockmap(odd.prog, map, { sys })).toThrow(
      "'odd' was not loaded for maps of sockets, as far as is known here",
    );
    using _link = attachSockmap(seen.prog, map, { sys, attachType: "sk_msg_verdict" });
    expect(() => attachSockmap(seen.prog, map, { sys, attachType: "sk_msg_verdict" })).toThrow("EBUSY");
  });
});
