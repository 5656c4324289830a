import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decodeBtf } from "../../../src/btf/decode.ts";
import {
  array,
  be16,
  be32,
  bits,
  bytes,
  compareWithBtf,
  s32,
  struct,
  u8,
  u16,
  u32,
  union,
} from "../../../src/btf/layout/index.ts";
import { describeKernel } from "../../support/privileges.ts";

describeKernel("layouts beside the running kernel's structs", () => {
  const vmlinux = decodeBtf(readFileSync("/sys/kernel/btf/vmlinux"));

  test("right ones", () => {
    const ethhdr = struct(
      "ethhdr",
      { h_dest: bytes(6), h_source: bytes(6), h_proto: be16 },
      { packed: true },
    );
    const iphdr = struct("iphdr", {
      ihl: bits(u8, 4),
      version: bits(u8, 4),
      tos: u8,
      tot_len: be16,
      id: be16,
      frag_off: be16,
      ttl: u8,
      protocol: u8,
      check: u16,
      saddr: be32,
      daddr: be32,
    });
    const cpumap = struct("bpf_cpumap_val", { qsize: u32, bpf_prog: union("", { fd: s32, id: u32 }) });
    const tuple = struct("bpf_sock_tuple", {
      either: union("", {
        ipv4: struct("", { saddr: be32, daddr: be32, sport: be16, dport: be16 }),
        ipv6: struct("", { saddr: array(be32, 4), daddr: array(be32, 4), sport: be16, dport: be16 }),
      }),
    });
    for (const layout of [ethhdr, iphdr, cpumap, tuple]) expect(compareWithBtf(layout, vmlinux)).toEqual([]);
  });

  test("a wrong one", () => {
    const udphdr = struct("udphdr", { source: be16, dest: u16, length: be16, check: bits(u16, 15) });
    expect(compareWithBtf(udphdr, vmlinux).map(({ message }) => message)).toEqual([
      "udphdr.dest: it is in host byte order, and BTF says big",
      "udphdr.length: BTF has no member of this name",
      "udphdr.check: it has 15 bits, and BTF says 2 bytes",
    ]);
  });
});
