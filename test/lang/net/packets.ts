/**
 * Packets by hand, header by header from the outside in: `packet(ethernet(ETH_P_IP), ipv4({ protocol: 17 }), udp())`. A length
 * or checksum that covers what follows is filled in by {@link packet}.
 */
import { encode } from "../../../src/btf/layout/index.ts";
import * as net from "../../../src/lang/net/index.ts";

/** A header, given the bytes that follow it. */
export type Header = (behind: Uint8Array) => Uint8Array;

/** A packet of these headers, and a payload. */
export function packet(...headers: readonly (Header | Uint8Array)[]): Uint8Array {
  return headers.reduceRight<Uint8Array>(
    (behind, header) => concat(typeof header === "function" ? header(behind) : header, behind),
    new Uint8Array(0),
  );
}

/** Bytes one after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export function ethernet(proto: number): Header {
  const h_dest = Uint8Array.of(2, 0, 0, 0, 0, 2);
  return () => encode(net.ethhdr, { h_dest, h_source: Uint8Array.of(2, 0, 0, 0, 0, 1), h_proto: proto });
}

export function vlan(proto: number, tci = 1): Header {
  return () => encode(net.vlan_hdr, { h_vlan_TCI: tci, h_vlan_encapsulated_proto: proto });
}

export function mpls(label: number, last: boolean): Header {
  const label_stack_entry = label * 4096 + (last ? net.MPLS_LS_S_MASK : 0) + 64;
  return () => encode(net.mpls_shim_hdr, { label_stack_entry });
}

export function arp(): Header {
  return () =>
    concat(
      encode(net.arphdr, { ar_hrd: 1, ar_pro: 0x0800, ar_hln: 6, ar_pln: 4, ar_op: 1 }),
      encode(net.arp_eth_ipv4, {
        ar_sha: Uint8Array.of(2, 0, 0, 0, 0, 1),
        ar_sip: 0x0a00_0001,
        ar_tha: new Uint8Array(6),
        ar_tip: 0x0a00_0002,
      }),
    );
}

/** `ihl`: what the field says, whatever is there. */
export function ipv4(fields: {
  readonly protocol: number;
  readonly options?: Uint8Array;
  readonly ihl?: number;
  readonly frag_off?: number;
  readonly saddr?: number;
  readonly daddr?: number;
}): Header {
  const {
    protocol,
    options = new Uint8Array(0),
    frag_off = 0,
    saddr = 0x0a00_0001,
    daddr = 0x0a00_0002,
  } = fields;
  return (behind) => {
    const header = concat(
      encode(net.iphdr, {
        version: 4,
        ihl: fields.ihl ?? 5 + options.length / 4,
        tos: 0,
        tot_len: 20 + options.length + behind.length,
        id: 0x1234,
        frag_off,
        ttl: 64,
        protocol,
        check: 0,
        saddr,
        daddr,
      }),
      options,
    );
    new DataView(header.buffer).setUint16(net.iphdr.offset.check, checksum(header));
    return header;
  };
}

export function ipv6(nexthdr: number): Header {
  return (behind) =>
    encode(net.ipv6hdr, {
      version: 6,
      priority: 0,
      flow_lbl: new Uint8Array(3),
      payload_len: behind.length,
      nexthdr,
      hop_limit: 64,
      saddr: [0xfd00_0000, 0, 0, 1],
      daddr: [0xfd00_0000, 0, 0, 2],
    });
}

/** A hop-by-hop, routing or destination header of so many units of 8 bytes. */
export function ipv6Options(nexthdr: number, units = 1): Header {
  return () =>
    concat(encode(net.ipv6_opt_hdr, { nexthdr, hdrlen: units - 1 }), new Uint8Array(units * 8 - 2));
}

export function ipv6Fragment(nexthdr: number, offset: number, more: boolean): Header {
  return () =>
    encode(net.frag_hdr, {
      nexthdr,
      reserved: 0,
      frag_off: offset | (more ? net.IP6_MF : 0),
      identification: 7,
    });
}

/** An authentication header with so many bytes of check value. */
export function auth(nexthdr: number, icv = 12): Header {
  const fixed = { nexthdr, hdrlen: (12 + icv) / 4 - 2, reserved: 0, spi: 9, seq_no: 1 };
  return () => concat(encode(net.ip_auth_hdr, fixed), new Uint8Array(icv));
}

export function udp(source = 1111, dest = 2222): Header {
  return (behind) => encode(net.udphdr, { source, dest, len: 8 + behind.length, check: 0 });
}

export function tcp(
  source = 1111,
  dest = 2222,
  flags: { readonly doff?: number; readonly syn?: number } = {},
): Header {
  return () =>
    encode(net.tcphdr, {
      source,
      dest,
      seq: 1,
      ack_seq: 0,
      doff: flags.doff ?? 5,
      res1: 0,
      ae: 0,
      cwr: 0,
      ece: 0,
      urg: 0,
      ack: 0,
      psh: 0,
      rst: 0,
      syn: flags.syn ?? 0,
      fin: 0,
      window: 1024,
      check: 0,
      urg_ptr: 0,
    });
}

export function icmpEcho(): Header {
  return () => Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1);
}

export function esp(spi: number): Header {
  return () => encode(net.ip_esp_hdr, { spi, seq_no: 1 });
}

export function gre(
  protocol: number,
  fields: { csum?: boolean; key?: number; seq?: number; version?: number } = {},
): Header {
  const { csum = false, key, seq, version = 0 } = fields;
  const flags =
    (csum ? net.GRE_CSUM : 0) |
    (key === undefined ? 0 : net.GRE_KEY) |
    (seq === undefined ? 0 : net.GRE_SEQ) |
    version;
  const none = new Uint8Array(0);
  return () =>
    concat(
      encode(net.gre_base_hdr, { flags, protocol }),
      csum ? encode(net.gre_csum, { csum: 0, reserved1: 0 }) : none,
      key === undefined ? none : encode(net.gre_key, { key }),
      seq === undefined ? none : encode(net.gre_seq, { seq }),
    );
}

export function vxlan(vni: number): Header {
  return () => encode(net.vxlanhdr, { vx_flags: net.VXLAN_HF_VNI, vx_vni: vni * 256 });
}

export function geneve(proto: number, vni: number, options: Uint8Array = new Uint8Array(0)): Header {
  return () =>
    concat(
      encode(net.genevehdr, {
        ver: 0,
        opt_len: options.length / 4,
        oam: 0,
        critical: 0,
        rsvd1: 0,
        proto_type: proto,
        vni: Uint8Array.of(vni >> 16, (vni >> 8) & 0xff, vni & 0xff),
        rsvd2: 0,
      }),
      options,
    );
}

/** GTP-U; each extension header is its type and its units of 4 bytes. */
export function gtp(
  teid: number,
  extensions: readonly (readonly [type: number, units: number])[] = [],
  seq?: number,
): Header {
  const parts: Uint8Array[] = [];
  if (seq !== undefined || extensions.length > 0) {
    parts.push(encode(net.gtp1_optional, { seq: seq ?? 0, npdu: 0, next: extensions[0]?.[0] ?? 0 }));
    extensions.forEach(([, units], index) => {
      const header = new Uint8Array(units * 4);
      header[0] = units;
      header[units * 4 - 1] = extensions[index + 1]?.[0] ?? 0;
      parts.push(header);
    });
  }
  const optional = concat(...parts);
  const flags =
    0x20 |
    net.GTP1_PT |
    (extensions.length > 0 ? net.GTP1_F_EXTHDR : 0) |
    (seq === undefined ? 0 : net.GTP1_F_SEQ);
  return (behind) =>
    concat(
      encode(net.gtp1_header, {
        flags,
        type: net.GTP_TPDU,
        length: optional.length + behind.length,
        tid: teid,
      }),
      optional,
    );
}

/** The Internet checksum (RFC 1071) of bytes. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
