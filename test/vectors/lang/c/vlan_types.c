/* XDP: counts packets by the EtherType behind up to four VLAN tags (802.1Q, 802.1ad) and by the number of tags. */
#include "bpf.h"

struct key {
	__u16 proto; /* host order */
	__u16 tags;
};

extern struct bpf_map types; /* hash: struct key -> u64 */

static __always_inline int is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

int vlan_types(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct vlan_hdr *vlan = (void *)(eth + 1);
	struct key key = {};
	__u64 one = 1, *count;

	if ((void *)vlan > data_end)
		return XDP_DROP;
	__be16 proto = eth->h_proto;
	for (int i = 0; i < 4; i++) {
		if (!is_vlan(proto))
			break;
		if ((void *)(vlan + 1) > data_end)
			return XDP_DROP;
		proto = vlan->h_vlan_encapsulated_proto;
		key.tags++;
		vlan++;
	}
	key.proto = bpf_ntohs(proto);

	count = bpf_map_lookup_elem(&types, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&types, &key, &one, BPF_NOEXIST);
	return XDP_PASS;
}
