import type { Program } from "../../../src/asm/program.ts";
import { be16, u16 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, xdp } from "../../../src/lang/index.ts";
import { ethhdr, vlan_hdr } from "../../../src/lang/net/index.ts";
import { BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { ETH_P_8021AD, ETH_P_8021Q } from "../../../src/uapi/net.ts";
import { types } from "../maps.ts";

/** XDP: counts packets by the EtherType behind up to four VLAN tags (802.1Q, 802.1ad) and by the number of tags. */
export function vlanTypes(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "vlan_types",
    ($) => {
      const drop = { else: () => $.return(XDP_DROP) };
      const proto = $.let(be16, $.packet.take(ethhdr, drop).h_proto);
      const tags = $.let(u16, 0);
      $.for(4, () => {
        $.if(proto.ne(ETH_P_8021Q).and(proto.ne(ETH_P_8021AD)), () => $.break());
        proto.set($.packet.take(vlan_hdr, drop).h_vlan_encapsulated_proto);
        tags.set(tags.add(1));
      });

      const key = $.struct(types.key, { proto: proto.toHost(), tags });
      $.lookup(types, key, (count) => $.atomic.add(count, 1)).else(() =>
        $.update(types, key, 1, BPF_NOEXIST),
      );
      return $.return(XDP_PASS);
    },
    options,
  );
}
