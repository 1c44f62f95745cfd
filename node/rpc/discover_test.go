package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/crypto"
)

// validate holds a JSON value against a schema: the keywords that the documents
// here use. It answers what is wrong, "" if nothing is.
func validate(root, s map[string]any, v any, at string) string {
	if ref, ok := s["$ref"].(string); ok {
		target := root
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			target, _ = target[part].(map[string]any)
		}
		if target == nil {
			return at + ": no such schema: " + ref
		}
		return validate(root, target, v, at)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		options, ok := s[key].([]any)
		if !ok {
			continue
		}
		var wrong []string
		for _, o := range options {
			if w := validate(root, o.(map[string]any), v, at); w != "" {
				wrong = append(wrong, w)
			}
		}
		if len(wrong) == len(options) {
			return at + ": none of " + key + ": " + strings.Join(wrong, " | ")
		}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s: %v is none of %v", at, v, enum)
	}
	kind, _ := s["type"].(string)
	switch x := v.(type) {
	case string:
		if kind != "" && kind != "string" {
			return at + ": a string, want " + kind
		}
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(x) {
			return fmt.Sprintf("%s: %q does not match %s", at, x, p)
		}
	case []any:
		if kind != "" && kind != "array" {
			return at + ": an array, want " + kind
		}
		items, _ := s["items"].(map[string]any)
		for i, e := range x {
			if w := validate(root, items, e, fmt.Sprint(at, "[", i, "]")); items != nil && w != "" {
				return w
			}
		}
	case map[string]any:
		if kind != "" && kind != "object" {
			return at + ": an object, want " + kind
		}
		return validateObject(root, s, x, at)
	case nil:
		if kind != "" && kind != "null" {
			return at + ": null, want " + kind
		}
	case bool:
		if kind != "" && kind != "boolean" {
			return at + ": a boolean, want " + kind
		}
	case float64:
		if kind != "" && kind != "number" && (kind != "integer" || x != math.Trunc(x)) {
			return at + ": a number, want " + kind
		}
	}
	return ""
}

func validateObject(root, s map[string]any, x map[string]any, at string) string {
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, there := x[name.(string)]; !there {
			return fmt.Sprintf("%s: no %s", at, name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(x)) {
		p, known := properties[name].(map[string]any)
		if !known {
			switch more := s["additionalProperties"].(type) {
			case bool:
				if !more {
					return fmt.Sprintf("%s: %s is not in the schema", at, name)
				}
				continue
			case map[string]any:
				p = more
			default:
				continue
			}
		}
		if w := validate(root, p, x[name], at+"."+name); w != "" {
			return w
		}
	}
	return ""
}

// calls are answers of every kind: found, absent, empty.
func sampleCalls(f *fixture) [][]any {
	block, txs := threeKinds(f)
	f.add(transfer(key(3), 0), transfer(key(3), 2))
	none := "0x" + strings.Repeat("9", 64)
	call := map[string]any{"to": someone, "value": "0x0"}
	hash, first := block.Hash(), txs[0].Hash()
	out := [][]any{
		{"eth_accounts"},
		{"eth_blockNumber"},
		{"eth_call", call},
		{"eth_chainId"},
		{"eth_createAccessList", call},
		{"eth_estimateGas", call},
		{"eth_feeHistory", 2, "latest", []float64{1, 99}},
		{"eth_gasPrice"},
		{"eth_getBalance", someone, "latest"},
		{"eth_getBlockByHash", hash, true},
		{"eth_getBlockByHash", none, true},
		{"eth_getBlockByNumber", "latest", false},
		{"eth_getBlockByNumber", "earliest", true},
		{"eth_getBlockReceipts", "latest"},
		{"eth_getBlockReceipts", none},
		{"eth_getBlockTransactionCountByHash", hash},
		{"eth_getBlockTransactionCountByNumber", "latest"},
		{"eth_getCode", someone, "latest"},
		{"eth_getHeaderByHash", hash},
		{"eth_getHeaderByNumber", "latest"},
		{"eth_getLogs", map[string]any{"fromBlock": "0x0"}},
		{"eth_getProof", someone, []string{"0x0"}, "latest"},
		{"eth_getStorageAt", someone, "0x0", "latest"},
		{"eth_getTransactionByBlockHashAndIndex", hash, "0x2"},
		{"eth_getTransactionByBlockNumberAndIndex", "latest", "0x1"},
		{"eth_getTransactionByHash", first},
		{"eth_getTransactionByHash", none},
		{"eth_getTransactionByHash", transfer(key(3), 0).Hash()},
		{"eth_getTransactionCount", someone, "pending"},
		{"eth_getTransactionReceipt", first},
		{"eth_getTransactionReceipt", none},
		{"eth_getUncleByBlockHashAndIndex", hash, "0x0"},
		{"eth_getUncleByBlockNumberAndIndex", "latest", "0x0"},
		{"eth_getUncleCountByBlockHash", hash},
		{"eth_getUncleCountByBlockNumber", "latest"},
		{"eth_maxPriorityFeePerGas"},
		{"eth_sendRawTransaction", rawHex(transfer(key(3), 1))},
		{"eth_syncing"},
		{"eth_uninstallFilter", "0x1"},
		{"net_listening"},
		{"net_peerCount"},
		{"net_version"},
		{"web3_clientVersion"},
		{"web3_sha3", "0x00"},
		{"txpool_content"},
		{"txpool_contentFrom", key(3).Address()},
		{"txpool_inspect"},
		{"txpool_status"},
		{"cairn_diagnose"},
		{"cairn_epochs", "0x0"},
		{"cairn_evidence"},
		{"cairn_finality", "latest"},
		{"cairn_history", someone},
		{"cairn_peers"},
		{"cairn_proof", someone},
		{"cairn_receiptProof", first},
		{"cairn_receiptProof", none},
		{"cairn_registry"},
		{"cairn_validatorChange", crypto.Address{1}, false},
		{"cairn_status"},
		{"cairn_transactionStatus", first},
		{"cairn_transactionStatus", none},
		{"cairn_validators", "latest"},
		{"erigon_getHeaderByNumber", "latest"},
		{"ots_getApiLevel"},
		{"ots_getBlockDetails", "latest"},
		{"ots_getBlockDetailsByHash", hash},
		{"ots_getBlockTransactions", "latest", 0, 2},
		{"ots_getContractCreator", someone},
		{"ots_getInternalOperations", first},
		{"ots_getTransactionBySenderAndNonce", key(0).Address(), 0},
		{"ots_getTransactionError", first},
		{"ots_hasCode", someone, "latest"},
		{"ots_searchTransactionsAfter", someone, 0, 5},
		{"ots_searchTransactionsBefore", someone, 0, 5},
		{"ots_traceTransaction", first},
		{"rpc_discover"},
		{"rpc_modules"},
	}
	for _, kind := range [][]any{{"eth_newBlockFilter"}, {"eth_newPendingTransactionFilter"}, {"eth_newFilter", map[string]any{}}} {
		id := f.call(kind[0].(string), kind[1:]...)
		out = append(out, kind, []any{"eth_getFilterChanges", id})
		if kind[0] == "eth_newFilter" {
			out = append(out, []any{"eth_getFilterLogs", id})
		}
	}
	return out
}

// TestDiscover holds live answers of every method against the document that
// rpc_discover serves.
func TestDiscover(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		f := newFixture(t, options{free: free})
		document := f.call("rpc_discover").(map[string]any)
		schemas := map[string]map[string]any{}
		for _, m := range document["methods"].([]any) {
			m := m.(map[string]any)
			if m["summary"] == "" {
				t.Errorf("%s has no summary", m["name"])
			}
			schemas[m["name"].(string)] = m["result"].(map[string]any)["schema"].(map[string]any)
		}
		tried := map[string]bool{
			// WebSocket only, or they wait: their answers are checked elsewhere.
			"eth_subscribe": true, "eth_unsubscribe": true, "cairn_subscribe": true, "cairn_unsubscribe": true, "eth_sendRawTransactionSync": true,
		}
		for _, c := range sampleCalls(f) {
			name := c[0].(string)
			tried[name] = true
			if schemas[name] == nil {
				t.Errorf("%s is not in the document", name)
				continue
			}
			if wrong := validate(document, schemas[name], f.call(name, c[1:]...), name); wrong != "" {
				t.Error(wrong)
			}
		}
		for name := range schemas {
			if !tried[name] {
				t.Errorf("%s is in the document and was not tried", name)
			}
		}
	}
}

// TestEthereumSchema holds live answers against Ethereum's own description of
// the methods.
func TestEthereumSchema(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/ethereum-openrpc.json")
	check(t, err)
	var schemas map[string]map[string]any
	check(t, json.Unmarshal(raw, &schemas))
	for _, free := range []bool{false, true} {
		f := newFixture(t, options{free: free})
		tried := map[string]bool{}
		for _, c := range sampleCalls(f) {
			name := c[0].(string)
			if schemas[name] == nil {
				continue
			}
			tried[name] = true
			answer := f.call(name, c[1:]...)
			if tx, ok := answer.(map[string]any); ok && name == "eth_getTransactionByHash" && tx["blockHash"] == nil {
				continue // one that waits: the description knows only those in blocks
			}
			if wrong := validate(nil, schemas[name], answer, name); wrong != "" {
				t.Error(wrong)
			}
		}
		for name := range schemas {
			if !tried[name] {
				t.Errorf("%s was not tried", name)
			}
		}
	}
}

// TestValidate: the validator of these tests finds what is wrong.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ schema, value string }{
		{`{"type":"string"}`, `1`},
		{`{"type":"string","pattern":"^0x$"}`, `"0y"`},
		{`{"type":"object","required":["a"]}`, `{}`},
		{`{"type":"object","additionalProperties":false}`, `{"a":1}`},
		{`{"type":"object","properties":{"a":{"type":"null"}}}`, `{"a":1}`},
		{`{"type":"array","items":{"type":"integer"}}`, `[1,1.5]`},
		{`{"oneOf":[{"type":"null"},{"type":"boolean"}]}`, `7`},
		{`{"enum":[false]}`, `true`},
		{`{"$ref":"#/nowhere"}`, `1`},
	} {
		var s map[string]any
		var v any
		decode(t, []byte(x.schema), &s)
		decode(t, []byte(x.value), &v)
		if validate(s, s, v, "value") == "" {
			t.Errorf("%s passes %s", x.value, x.schema)
		}
	}
}
