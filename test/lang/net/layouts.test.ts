import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Btf, decodeBtf } from "../../../src/btf/decode.ts";
import { compareWithBtf, decode, encode, type StructLayout } from "../../../src/btf/layout/index.ts";
import * as net from "../../../src/lang/net/index.ts";

const VMLINUX = "/sys/kernel/btf/vmlinux";

/** Members that only newer kernels' structs have. */
const DIFFERENCES: Readonly<Record<string, readonly string[]>> = {
  // Before 6.15 the bit belonged to `res1`.
  tcphdr: ["tcphdr.ae", "tcphdr.res1"],
};

describe.skipIf(!existsSync(VMLINUX))("headers beside the running kernel's structs", () => {
  const vmlinux: Btf | undefined = existsSync(VMLINUX) ? decodeBtf(readFileSync(VMLINUX)) : undefined;
  const layouts: readonly StructLayout[] = [
    net.ethhdr,
    net.vlan_hdr,
    net.arphdr,
    net.iphdr,
    net.ipv6hdr,
    net.ipv6_opt_hdr,
    net.ipv6_rt_hdr,
    net.frag_hdr,
    net.tcphdr,
    net.udphdr,
    net.icmphdr,
    net.icmp6hdr,
    net.gre_base_hdr,
    net.vxlanhdr,
    net.genevehdr,
    net.geneve_opt,
    net.ip_esp_hdr,
    net.ip_auth_hdr,
    net.mpls_shim_hdr,
  ] as readonly StructLayout[];

  test.each(layouts.map((layout) => [layout.name, layout] as const))("%s", (name, layout) => {
    const differences = compareWithBtf(layout, vmlinux as Btf);
    const unexpected = differences.filter(({ path }) => DIFFERENCES[name]?.includes(path) !== true);
    expect(unexpected.map(({ message }) => message)).toEqual([]);
  });
});

test("sizes and offsets", () => {
  const sizes = Object.fromEntries(
    Object.values(net).flatMap((thing) => (typeof thing === "object" ? [[thing.name, thing.size]] : [])),
  );
  expect(sizes).toEqual({
    arp_eth_ipv4: 20,
    arphdr: 8,
    ethhdr: 14,
    frag_hdr: 8,
    geneve_opt: 4,
    genevehdr: 8,
    gre_base_hdr: 4,
    gre_csum: 4,
    gre_key: 4,
    gre_seq: 4,
    gtp1_exthdr: 1,
    gtp1_header: 8,
    gtp1_optional: 4,
    icmp6hdr: 8,
    icmphdr: 8,
    ip_auth_hdr: 12,
    ip_esp_hdr: 8,
    iphdr: 20,
    ipv6_opt_hdr: 2,
    ipv6_rt_hdr: 4,
    ipv6hdr: 40,
    mpls_shim_hdr: 4,
    pseudo6hdr: 40,
    pseudohdr: 12,
    tcphdr: 20,
    udphdr: 8,
    vlan_hdr: 4,
    vxlanhdr: 8,
  });
  expect(net.arp_eth_ipv4.offset).toMatchObject({ ar_sha: 0, ar_sip: 6, ar_tha: 10, ar_tip: 16 });
  expect(net.gtp1_header.offset).toMatchObject({ flags: 0, type: 1, length: 2, tid: 4 });
});

/** Bytes of a packet, as a capture shows them. */
function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
}

/** What a layout reads of bytes, after having checked that it writes the same bytes. */
function read<Value>(
  layout: StructLayout & { read(view: DataView, offset: number): Value },
  text: string,
): Value {
  const bytes = hex(text);
  const value = decode(layout, bytes) as Value;
  expect(Buffer.from(encode(layout, value as never)).toString("hex")).toBe(
    Buffer.from(bytes).toString("hex"),
  );
  return value;
}

describe("headers of packets", () => {
  test("an Ethernet frame with two VLAN tags", () => {
    expect(read(net.ethhdr, "0250 5600 0001 0250 5600 0002 88a8")).toEqual({
      h_dest: hex("025056000001"),
      h_source: hex("025056000002"),
      h_proto: 0x88a8,
    });
    const outer = read(net.vlan_hdr, "6064 8100");
    expect(outer).toEqual({ h_vlan_TCI: 0x6064, h_vlan_encapsulated_proto: 0x8100 });
    expect(outer.h_vlan_TCI & net.VLAN_VID_MASK).toBe(100);
    expect((outer.h_vlan_TCI & net.VLAN_PRIO_MASK) >> net.VLAN_PRIO_SHIFT).toBe(3);
  });

  test("an ARP request", () => {
    expect(read(net.arphdr, "0001 0800 06 04 0001")).toEqual({
      ar_hrd: 1,
      ar_pro: 0x0800,
      ar_hln: 6,
      ar_pln: 4,
      ar_op: 1,
    });
    expect(read(net.arp_eth_ipv4, "025056000002 0a000001 000000000000 0a000002")).toMatchObject({
      ar_sip: 0x0a00_0001,
      ar_tip: 0x0a00_0002,
    });
  });

  test("IPv4", () => {
    expect(read(net.iphdr, "4510 003c 1c46 4000 4006 b1e6 ac10 0a63 ac10 0a0c")).toEqual({
      version: 4,
      ihl: 5,
      tos: 0x10,
      tot_len: 60,
      id: 0x1c46,
      frag_off: net.IP_DF,
      ttl: 64,
      protocol: 6,
      check: 0xb1e6,
      saddr: 0xac10_0a63,
      daddr: 0xac10_0a0c,
    });
  });

  test("IPv6 and a fragment header", () => {
    const text =
      "6000 0000 0010 2c40 fe80 0000 0000 0000 0000 0000 0000 0001 fe80 0000 0000 0000 0000 0000 0000 0002";
    expect(read(net.ipv6hdr, text)).toEqual({
      version: 6,
      priority: 0,
      flow_lbl: hex("000000"),
      payload_len: 16,
      nexthdr: net.NEXTHDR_FRAGMENT,
      hop_limit: 64,
      saddr: [0xfe80_0000, 0, 0, 1],
      daddr: [0xfe80_0000, 0, 0, 2],
    });
    const fragment = read(net.frag_hdr, "1100 0b51 f88e ad10");
    expect(fragment).toEqual({ nexthdr: 17, reserved: 0, frag_off: 0x0b51, identification: 0xf88e_ad10 });
    expect(fragment.frag_off & net.IP6_OFFSET).toBe(2896);
    expect(fragment.frag_off & net.IP6_MF).toBe(1);
  });

  test("a TCP SYN+ACK, and one with every odd bit", () => {
    expect(read(net.tcphdr, "0050 c6b2 7f3e 1a01 11d9 ac54 a012 fe88 0000 0000")).toEqual({
      source: 80,
      dest: 50866,
      seq: 0x7f3e_1a01,
      ack_seq: 0x11d9_ac54,
      doff: 10,
      res1: 0,
      ae: 0,
      cwr: 0,
      ece: 0,
      urg: 0,
      ack: 1,
      psh: 0,
      rst: 0,
      syn: 1,
      fin: 0,
      window: 0xfe88,
      check: 0,
      urg_ptr: 0,
    });
    expect(read(net.tcphdr, "0000 0000 0000 0000 0000 0000 51a9 0000 0000 0000")).toMatchObject({
      doff: 5,
      res1: 0,
      ae: 1,
      cwr: 1,
      ece: 0,
      urg: 1,
      ack: 0,
      psh: 1,
      rst: 0,
      syn: 0,
      fin: 1,
    });
  });

  test("UDP, ICMP, ICMPv6", () => {
    expect(read(net.udphdr, "0035 d431 0055 1a2b")).toEqual({
      source: 53,
      dest: 54321,
      len: 85,
      check: 0x1a2b,
    });
    const echo = decode(net.icmphdr, hex("0800 4d56 0001 0005"));
    expect(echo).toMatchObject({
      type: 8,
      checksum: 0x4d56,
      un: { echo: { id: 1, sequence: 5 }, frag: { mtu: 5 } },
    });
    const echo6 = decode(net.icmp6hdr, hex("8000 ab12 00ff 0102"));
    expect(echo6).toMatchObject({
      icmp6_type: 128,
      icmp6_dataun: { u_echo: { identifier: 255, sequence: 0x0102 } },
    });
  });

  test("tunnels", () => {
    expect(read(net.gre_base_hdr, "b000 6558")).toEqual({
      flags: net.GRE_CSUM | net.GRE_KEY | net.GRE_SEQ,
      protocol: 0x6558,
    });
    const vxlan = read(net.vxlanhdr, "0800 0000 0000 2a00");
    expect(vxlan).toEqual({ vx_flags: net.VXLAN_HF_VNI, vx_vni: 42 * 256 });
    expect(read(net.genevehdr, "0240 6558 0000 2a00")).toEqual({
      ver: 0,
      opt_len: 2,
      oam: 0,
      critical: 1,
      rsvd1: 0,
      proto_type: 0x6558,
      vni: hex("00002a"),
      rsvd2: 0,
    });
    expect(read(net.geneve_opt, "0102 80 01")).toEqual({
      opt_class: 0x0102,
      type: 0x80,
      r1: 0,
      r2: 0,
      r3: 0,
      length: 1,
    });
    expect(read(net.gtp1_header, "34ff 0064 0000 0539")).toEqual({
      flags: 0x20 | net.GTP1_PT | net.GTP1_F_EXTHDR,
      type: net.GTP_TPDU,
      length: 100,
      tid: 1337,
    });
    expect(read(net.gtp1_optional, "0000 0085")).toEqual({ seq: 0, npdu: 0, next: 0x85 });
    expect(read(net.ip_esp_hdr, "c1b2 a394 0000 0007")).toEqual({ spi: 0xc1b2_a394, seq_no: 7 });
    const label = read(net.mpls_shim_hdr, "0001 d1ff").label_stack_entry;
    expect((label & net.MPLS_LS_LABEL_MASK) >>> net.MPLS_LS_LABEL_SHIFT).toBe(29);
    expect(label & net.MPLS_LS_S_MASK).not.toBe(0);
  });
});
