/**
 * A program that parses whatever comes with the helpers of `src/lang/net`, and writes what it found where a test can read it:
 * the record of reference.ts. It returns {@link FOUND} or {@link REFUSED}.
 */
import { mapDef, type TypedMapDef } from "../../../src/asm/map-def.ts";
import type { Program } from "../../../src/asm/program.ts";
import { be16, type StructLayout, struct, u8, u32 } from "../../../src/btf/layout/index.ts";
import {
  type LangOptions,
  type Packet,
  type Statements,
  TC_ACT_OK,
  TC_ACT_SHOT,
  tc,
  type WireVal,
  XDP_DROP,
  XDP_PASS,
  xdp,
} from "../../../src/lang/index.ts";
import * as net from "../../../src/lang/net/index.ts";
import {
  ETH_P_IP,
  ETH_P_IPV6,
  ETH_P_MPLS_UC,
  ETH_P_TEB,
  IPPROTO_ESP,
  IPPROTO_GRE,
  IPPROTO_IPIP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
} from "../../../src/uapi/net.ts";
import { LIMITS } from "./reference.ts";

type U32 = typeof u32;

const record: StructLayout<
  "found",
  {
    tags: U32;
    proto: U32;
    l4: U32;
    fragment: U32;
    l4Offset: U32;
    tunnel: U32;
    innerL4: U32;
    innerOffset: U32;
  }
> = struct("found", {
  tags: u32,
  proto: u32,
  l4: u32,
  fragment: u32,
  l4Offset: u32,
  tunnel: u32,
  innerL4: u32,
  innerOffset: u32,
});

/** One entry: what the program found in the last packet that it did not refuse. */
export const found: TypedMapDef<"array", typeof u32, typeof record> = mapDef({
  name: "found",
  type: "array",
  key: u32,
  value: record,
  maxEntries: 1,
});

/** The dissector for XDP: passes what it could parse, drops what it refuses. */
export function xdpDissector(options: LangOptions): Program<"xdp"> {
  return xdp(
    "dissect",
    ($) => {
      dissect($, { else: () => $.return(XDP_DROP) });
      return $.return(XDP_PASS);
    },
    options,
  );
}

/** The dissector for TC: passes what it could parse, drops what it refuses. */
export function tcDissector(options: LangOptions): Program<"sched_cls"> {
  return tc(
    "dissect",
    ($) => {
      dissect($, { else: () => $.return(TC_ACT_SHOT) });
      return $.return(TC_ACT_OK);
    },
    options,
  );
}

/** What the builders of XDP and TC programs have in common. */
type Builder = Statements & { readonly packet: Packet };

function dissect($: Builder, refuse: net.Otherwise): void {
  const out = $.global(found);
  const nothing = { l4: 0, fragment: 0, l4Offset: 0, tunnel: 0, innerL4: 0, innerOffset: 0 };
  const frame = net.parseEthernet($, { ...refuse, maxTags: LIMITS.tags });
  $.assign(out, { ...nothing, tags: frame.tags, proto: frame.proto.toHost() });

  const l4 = $.let(u8, 0);
  const fragment = $.let(u8, 0);
  const inside = $.let(be16, 0); // an EtherType, where there is something that can be looked into

  const ip = (proto: WireVal<"be16">): void => {
    const keep = (packet: net.Ipv4Packet | net.Ipv6Packet): void => {
      l4.set(packet.protocol);
      fragment.set(0);
      $.if(packet.laterFragment, () => fragment.set(2)).elif(packet.fragment, () => fragment.set(1));
    };
    $.if(proto.eq(ETH_P_IP), () => keep(net.parseIpv4($, refuse))).else(() =>
      keep(net.parseIpv6($, { ...refuse, maxHeaders: LIMITS.headers })),
    );
  };
  const byVersion = (): void => {
    const version = net.peekIpVersion($, refuse);
    $.if(version.eq(4), () => inside.set(ETH_P_IP)).elif(version.eq(6), () => inside.set(ETH_P_IPV6));
  };
  const inUdp = (): void => {
    const { dest } = $.packet.take(net.udphdr, refuse);
    $.switch(
      dest,
      [
        [
          net.VXLAN_PORT,
          () => {
            out.tunnel.set(net.parseVxlan($, refuse).vni);
            inside.set(ETH_P_TEB);
          },
        ],
        [
          net.GENEVE_PORT,
          () => {
            const { vni, protocol } = net.parseGeneve($, refuse);
            out.tunnel.set(vni);
            inside.set(protocol);
          },
        ],
        [
          net.GTP1U_PORT,
          () => {
            const { type, teid } = net.parseGtpU($, { ...refuse, maxExtensions: LIMITS.extensions });
            out.tunnel.set(teid.toHost());
            $.if(type.eq(net.GTP_TPDU), byVersion);
          },
        ],
      ],
      () => undefined,
    );
  };
  const tunnel = (): void =>
    $.switch(
      l4,
      [
        [IPPROTO_IPIP, () => inside.set(ETH_P_IP)],
        [IPPROTO_IPV6, () => inside.set(ETH_P_IPV6)],
        [
          IPPROTO_GRE,
          () => {
            const { protocol, key } = net.parseGre($, refuse);
            out.tunnel.set(key.toHost());
            inside.set(protocol);
          },
        ],
        [IPPROTO_ESP, () => out.tunnel.set($.packet.take(net.ip_esp_hdr, refuse).spi.toHost())],
        [IPPROTO_UDP, inUdp],
      ],
      () => undefined,
    );

  $.if(frame.proto.eq(ETH_P_MPLS_UC), () => {
    out.tunnel.set(net.parseMpls($, { ...refuse, maxLabels: LIMITS.labels }).label);
    byVersion();
  }).elif(frame.proto.eq(ETH_P_IP).or(frame.proto.eq(ETH_P_IPV6)), () => {
    ip(frame.proto);
    $.assign(out, { l4, fragment, l4Offset: $.packet.offset() });
    $.if(fragment.ne(2), tunnel);
  });
  $.if(inside.eq(ETH_P_TEB), () =>
    inside.set(net.parseEthernet($, { ...refuse, maxTags: LIMITS.tags }).proto),
  );
  $.if(inside.eq(ETH_P_IP).or(inside.eq(ETH_P_IPV6)), () => {
    ip(inside);
    $.assign(out, { innerL4: l4, innerOffset: $.packet.offset() });
  });
}
