package rpc

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
)

// schema is the part of JSON Schema that describes the answers.
type schema struct {
	Ref                  string             `json:"$ref,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Enum                 []any              `json:"enum,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AdditionalProperties *schema            `json:"additionalProperties,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
}

func text() *schema     { return &schema{Type: "string"} }
func quantity() *schema { return &schema{Type: "string", Pattern: "^0x(0|[1-9a-f][0-9a-f]*)$"} }
func bytesOf(pattern string) *schema {
	return &schema{Type: "string", Pattern: "^0x" + pattern + "$"}
}

func orNull(s *schema) *schema { return &schema{AnyOf: []*schema{s, {Type: "null"}}} }

// schemas makes schemas of types; structs are named and made once.
type schemas struct {
	named map[string]*schema
}

func newSchemas() *schemas { return &schemas{named: map[string]*schema{}} }

// scalars are the types that write themselves.
var scalars = map[reflect.Type]func() *schema{
	reflect.TypeFor[hexutil.Big]():         quantity,
	reflect.TypeFor[hexutil.Uint]():        quantity,
	reflect.TypeFor[hexutil.Uint64]():      quantity,
	reflect.TypeFor[rpc.ID]():              quantity,
	reflect.TypeFor[hexutil.Bytes]():       func() *schema { return bytesOf("([0-9a-f]{2})*") },
	reflect.TypeFor[crypto.Hash]():         func() *schema { return bytesOf("[0-9a-f]{64}") },
	reflect.TypeFor[crypto.Address]():      func() *schema { return bytesOf("[0-9a-fA-F]{40}") },
	reflect.TypeFor[types.Bloom]():         func() *schema { return bytesOf("[0-9a-f]{512}") },
	reflect.TypeFor[types.BlockNonce]():    func() *schema { return bytesOf("[0-9a-f]{16}") },
	reflect.TypeFor[json.RawMessage]():     func() *schema { return &schema{} },
	reflect.TypeFor[math.HexOrDecimal64](): func() *schema { return &schema{AnyOf: []*schema{{Type: "integer"}, text()}} },
	reflect.TypeFor[rpc.BlockNumber]():     blockNumber,
	reflect.TypeFor[blockArgument](): func() *schema {
		return &schema{AnyOf: []*schema{blockNumber(), {Type: "integer"}}}
	},
	reflect.TypeFor[rpc.BlockNumberOrHash](): func() *schema {
		return &schema{AnyOf: []*schema{blockNumber(), bytesOf("[0-9a-f]{64}"), {Type: "object", Properties: map[string]*schema{
			"blockNumber": blockNumber(), "blockHash": bytesOf("[0-9a-f]{64}"), "requireCanonical": {Type: "boolean"},
		}}}}
	},
	reflect.TypeFor[types.Log](): func() *schema {
		return &schema{Type: "object", Required: []string{"address", "topics", "data", "blockNumber", "transactionHash", "transactionIndex", "blockHash", "logIndex", "removed"}}
	},
	reflect.TypeFor[logQuery](): func() *schema {
		oneOrMany := func(s *schema) *schema {
			return &schema{AnyOf: []*schema{s, {Type: "null"}, {Type: "array", Items: orNull(s)}}}
		}
		return &schema{Type: "object", Properties: map[string]*schema{
			"blockHash": bytesOf("[0-9a-f]{64}"), "fromBlock": blockNumber(), "toBlock": blockNumber(),
			"address": oneOrMany(bytesOf("[0-9a-fA-F]{40}")), "topics": {Type: "array", Items: oneOrMany(bytesOf("[0-9a-f]{64}"))},
		}}
	},
}

func blockNumber() *schema {
	return &schema{AnyOf: []*schema{{Type: "string", Enum: []any{"earliest", "latest", "pending", "safe", "finalized"}}, quantity()}}
}

// of is the schema of a type; nullable says that a nil pointer is written as
// null.
func (s *schemas) of(t reflect.Type, nullable bool) *schema {
	if t.Kind() == reflect.Pointer {
		if nullable {
			return orNull(s.of(t.Elem(), true))
		}
		return s.of(t.Elem(), true)
	}
	if f, ok := scalars[t]; ok {
		return f()
	}
	if d, ok := reflect.Zero(t).Interface().(interface{ describes() reflect.Type }); ok {
		return orNull(s.of(d.describes(), false))
	}
	switch t.Kind() {
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.String:
		return text()
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.Int, reflect.Uint64, reflect.Uint32:
		return &schema{Type: "integer"}
	case reflect.Slice, reflect.Array:
		return &schema{Type: "array", Items: s.element(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object", AdditionalProperties: s.element(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	}
	return &schema{} // any
}

// element is a member of a list or map: a pointer there is never nil.
func (s *schemas) element(t reflect.Type) *schema { return s.of(t, false) }

func (s *schemas) structure(t reflect.Type) *schema {
	if t.Name() == "" {
		return &schema{Type: "object"}
	}
	name := t.Name()
	if i := strings.IndexByte(name, '['); i >= 0 { // of a generic type, by what it holds
		return s.object(t)
	}
	if _, ok := s.named[name]; !ok {
		s.named[name] = nil // a type may hold itself
		s.named[name] = s.object(t)
	}
	return &schema{Ref: "#/components/schemas/" + name}
}

func (s *schemas) object(t reflect.Type) *schema {
	out := &schema{Type: "object", Properties: map[string]*schema{}}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			embedded := s.object(f.Type)
			for name, p := range embedded.Properties {
				out.Properties[name] = p
			}
			out.Required = append(out.Required, embedded.Required...)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		optional := strings.Contains(options, "omitempty")
		if _, again := out.Properties[tag]; !again && !optional {
			out.Required = append(out.Required, tag)
		}
		// A pointer to a number is there to be exact, not to be absent.
		_, scalar := scalars[f.Type]
		out.Properties[tag] = s.of(f.Type, !optional && !scalar && f.Type != reflect.TypeFor[*hexutil.Big]() || nullableNumbers[t.Name()+"."+f.Name])
	}
	return out
}

// nullableNumbers are the *hexutil.Big that can be null.
var nullableNumbers = map[string]bool{"transaction.BlockNumber": true}

// result is the schema of a method's answer. Where its type says nothing, this
// does.
func (s *schemas) result(m *method) *schema {
	switch m.name {
	case "eth_syncing":
		return &schema{AnyOf: []*schema{{Type: "boolean", Enum: []any{false}}, s.of(reflect.TypeFor[progress](), false)}}
	case "eth_getFilterChanges":
		return &schema{AnyOf: []*schema{{Type: "array", Items: bytesOf("[0-9a-f]{64}")}, {Type: "array", Items: s.of(reflect.TypeFor[types.Log](), false)}}}
	}
	if m.result == nil {
		return &schema{}
	}
	if m.result.Kind() == reflect.Slice && mayBeNull[m.name] {
		return orNull(s.of(m.result, false))
	}
	// A scalar answer is there always, whatever its Go type; anything else that is
	// a pointer may be null.
	if m.result == reflect.TypeFor[*hexutil.Big]() {
		return quantity()
	}
	return s.of(m.result, true)
}

// mayBeNull are the lists that are null for a block or transaction that is not
// there.
var mayBeNull = map[string]bool{"ots_traceTransaction": true}
