package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/ethereum/go-ethereum/rpc"
)

// method is one exported method of an API, as go-ethereum's server serves it.
type method struct {
	name         string // on the wire; of a subscription, what stands first in eth_subscribe
	namespace    string
	subscription bool
	params       []reflect.Type
	result       reflect.Type // nil = none
}

var (
	typeContext      = reflect.TypeFor[context.Context]()
	typeError        = reflect.TypeFor[error]()
	typeSubscription = reflect.TypeFor[*rpc.Subscription]()
)

// methodsOf finds the methods by the rules of go-ethereum's server, sorted by
// name.
func methodsOf(apis map[string][]any) []method {
	var out []method
	for namespace, receivers := range apis {
		for _, r := range receivers {
			t := reflect.TypeOf(r)
			for i := range t.NumMethod() {
				out = append(out, methodOf(namespace, t.Method(i)))
			}
		}
	}
	slices.SortFunc(out, func(a, b method) int { return strings.Compare(a.key(), b.key()) })
	return out
}

func methodOf(namespace string, m reflect.Method) method {
	name := []rune(m.Name)
	name[0] = unicode.ToLower(name[0])
	out := method{namespace: namespace, name: namespace + "_" + string(name)}
	for i := 1; i < m.Type.NumIn(); i++ {
		if in := m.Type.In(i); in != typeContext {
			out.params = append(out.params, in)
		}
	}
	if m.Type.NumOut() > 0 && m.Type.Out(0) != typeError {
		out.result = m.Type.Out(0)
	}
	if out.result == typeSubscription {
		out.subscription, out.name = true, string(name)
	}
	return out
}

// key tells a method and a subscription of the same name apart.
func (m *method) key() string {
	if m.subscription {
		return m.namespace + `_subscribe("` + m.name + `")`
	}
	return m.name
}

// namesOf are the names that a call can have.
func namesOf(methods []method) []string {
	out := []string{"rpc_modules"} // go-ethereum's own
	for _, m := range methods {
		if m.subscription {
			out = append(out, m.namespace+"_subscribe", m.namespace+"_unsubscribe")
		} else {
			out = append(out, m.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// openRPCDocument is the answer of rpc_discover: OpenRPC 1.2.
type openRPCDocument struct {
	OpenRPC string `json:"openrpc"`
	Info    struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	} `json:"info"`
	Methods    []openRPCMethod `json:"methods"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type openRPCMethod struct {
	Name    string         `json:"name"`
	Summary string         `json:"summary"`
	Params  []openRPCParam `json:"params"`
	Result  openRPCResult  `json:"result"`
}

type openRPCParam struct {
	Name     string  `json:"name"`
	Required bool    `json:"required"`
	Schema   *schema `json:"schema"`
}

type openRPCResult struct {
	Name   string  `json:"name"`
	Schema *schema `json:"schema"`
}

// describe makes the document from the methods and what descriptions says of
// them. It fails if one is not described: then no server starts, and the tests
// say which.
func describe(methods []method, version string) (json.RawMessage, error) {
	var d openRPCDocument
	d.OpenRPC, d.Info.Title, d.Info.Version = "1.2.6", "Cairn JSON-RPC", version
	d.Info.Description = "Ethereum's execution JSON-RPC on a ledger with immediate finality, and the cairn_ methods."
	s := newSchemas()
	for _, m := range methods {
		text, ok := descriptions[m.key()]
		if !ok || len(text.params) != len(m.params) {
			return nil, fmt.Errorf("method %s has %d parameters and is described with %d", m.key(), len(m.params), len(text.params))
		}
		if m.subscription {
			continue
		}
		out := openRPCMethod{Name: m.name, Summary: text.summary, Params: []openRPCParam{}}
		for i, p := range m.params {
			out.Params = append(out.Params, openRPCParam{Name: text.params[i], Required: p.Kind() != reflect.Pointer, Schema: s.of(p, false)})
		}
		out.Result = openRPCResult{Name: "result", Schema: s.result(&m)}
		d.Methods = append(d.Methods, out)
	}
	d.Methods = append(d.Methods, subscribeMethods(methods)...)
	slices.SortFunc(d.Methods, func(a, b openRPCMethod) int { return strings.Compare(a.Name, b.Name) })
	d.Components.Schemas = s.named
	return json.Marshal(d)
}

// subscribeMethods are eth_subscribe and the like, which go-ethereum's server
// adds itself.
func subscribeMethods(methods []method) []openRPCMethod {
	names := map[string][]any{}
	for _, m := range methods {
		if m.subscription {
			names[m.namespace] = append(names[m.namespace], m.name)
		}
	}
	out := []openRPCMethod{{
		Name: "rpc_modules", Summary: "Answers the namespaces and their versions.", Params: []openRPCParam{},
		Result: openRPCResult{Name: "result", Schema: &schema{Type: "object", AdditionalProperties: text()}},
	}}
	for namespace, kinds := range names {
		out = append(out, openRPCMethod{
			Name: namespace + "_subscribe", Summary: "Makes a subscription; WebSocket only.",
			Params: []openRPCParam{{Name: "kind", Required: true, Schema: &schema{Type: "string", Enum: kinds}}, {Name: "options", Schema: &schema{}}},
			Result: openRPCResult{Name: "result", Schema: quantity()},
		}, openRPCMethod{
			Name: namespace + "_unsubscribe", Summary: "Ends a subscription.",
			Params: []openRPCParam{{Name: "id", Required: true, Schema: quantity()}},
			Result: openRPCResult{Name: "result", Schema: &schema{Type: "boolean"}},
		})
	}
	return out
}

// Discover answers the OpenRPC document of this server.
func (a *rpcAPI) Discover() json.RawMessage { return a.b.openRPC }
