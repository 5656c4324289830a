import { once } from "node:events";
import { describe, expect, test } from "vitest";
import {
  add,
  call,
  exit,
  lddw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r2,
  r3,
  r4,
  r10,
  stw,
} from "../../../src/asm/index.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import { attachSockmap } from "../../../src/kernel/link/sockmap.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { BPF_F_INGRESS, BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { bpf_msg_redirect_hash, bpf_msg_redirect_map } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { openConnection, ownFd } from "./sockets.ts";

const sys = tracedSyscalls();

describe.each(["sockmap", "sockhash"] as const)("%s", (type) => {
  const sockets = mapDef({ name: "sockets", type, key: u32, value: u64, maxEntries: 4 });

  /** Puts whatever a socket in the map sends into the input of the one under key 1, past TCP. */
  const splice = program(
    "sk_msg",
    "splice",
    {
      entry: [
        stw([r10, -4], 1),
        lddw(r2, mapFd(sockets)),
        ...(type === "sockmap"
          ? [mov32(r3, 1), mov32(r4, BPF_F_INGRESS), call(bpf_msg_redirect_map)]
          : [mov(r3, r10), add(r3, -4), mov32(r4, BPF_F_INGRESS), call(bpf_msg_redirect_hash)]),
        exit(),
      ],
    } as never,
    { attachType: "sk_msg_verdict" },
  );

  describeKernel("API", () => {
    test("sockets come and go; it gives their cookies", async () => {
      await using a = await openConnection();
      await using b = await openConnection();
      using map = BpfMap.create(sockets, { sys });
      expect([...map]).toEqual([]);
      expect(map.get(1)).toBeUndefined();
      map.set(1, ownFd(a.client));
      map.set(3, ownFd(b.server));
      map.set(2, BigInt(ownFd(a.listener).fd));
      const cookies = new Map(map);
      expect([...cookies.keys()].sort()).toEqual([1, 2, 3]);
      expect(new Set(cookies.values()).size).toBe(3);
      expect([map.get(1), map.has(3), map.has(0)]).toEqual([cookies.get(1), true, false]);
      expect(() => map.set(1, ownFd(b.client), BPF_NOEXIST)).toThrow("BPF_NOEXIST");
      expect(map.delete(1)).toBe(true);
      expect(map.get(1)).toBeUndefined();
      b.server.destroy();
      await expect.poll(() => map.has(3)).toBe(false); // a closed one leaves it by itself
    });

    test("what one socket sends comes out of another", async () => {
      await using a = await openConnection();
      await using b = await openConnection();
      using map = BpfMap.create(sockets, { sys });
      using prog = BpfProgram.load(splice, { sys, maps: [map] });
      using _link = attachSockmap(prog, map, { sys });
      map.set(0, ownFd(a.client));
      map.set(1, ownFd(b.server));
      const received = once(b.server, "data");
      a.client.write("over there");
      const [data] = (await received) as [Buffer];
      expect(data.toString()).toBe("over there");
      expect(a.server.bytesRead).toBe(0);
    });

    test("with 4 bytes for a value it takes sockets, and cannot tell which", async () => {
      await using a = await openConnection();
      const narrow = mapDef({ name: "narrow", type, key: u32, value: u32, maxEntries: 4 });
      using map = BpfMap.create(narrow, { sys });
      map.set(1, ownFd(a.client));
      expect(() => map.get(1)).toThrow(
        /ENOSPC.*\n {2}It gives the cookies of its sockets, which have 64 bits: give it values of type u64\.$/,
      );
      expect(() => map.set(1, map)).toThrow("ENOTSOCK");
      expect(() => map.set(1, map)).toThrow("It takes TCP sockets that are connected or listening");
    });
  });
});
