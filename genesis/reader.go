package genesis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/holiman/uint256"

	"cairn/crypto"
)

// A reader walks one JSON value strictly: exact field names, each once, none
// missing, no other type than the asked-for one, nothing after the end. It
// descends only where the format does, so that depth needs no limit of its own.
// The first error stays; later calls do nothing.
type reader struct {
	raw []byte
	dec *json.Decoder
	err error
}

// field is one member of an object.
type field struct {
	name     string
	optional bool
	read     func(path string)
}

// newReader refuses more than limit bytes.
func newReader(raw []byte, limit int) *reader {
	r := &reader{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw))}
	r.dec.UseNumber()
	if len(raw) > limit {
		r.fail("", ErrTooLarge, "%d bytes, at most %d are allowed", len(raw), limit)
	}
	return r
}

func (r *reader) fail(path string, kind ErrorKind, format string, args ...any) {
	if r.err == nil {
		r.err = fieldError(path, kind, format, args...)
	}
}

// token is the next JSON token; nil with a failed reader, and for null.
func (r *reader) token(path string) json.Token {
	if r.err != nil {
		return nil
	}
	t, err := r.dec.Token()
	if err == nil {
		return t
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		r.fail(path, ErrSyntax, "%s: %s", r.position(), syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.fail(path, ErrSyntax, "the file ends too early")
	default:
		r.fail(path, ErrSyntax, "%s", err)
	}
	return nil
}

// position is where the token begins that cannot be read, as people count.
func (r *reader) position() string {
	at := min(int(r.dec.InputOffset()), len(r.raw))
	at = len(r.raw) - len(bytes.TrimLeft(r.raw[at:], " \t\r\n:,"))
	before := r.raw[:at]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf("line %d, column %d", line, at-bytes.LastIndexByte(before, '\n'))
}

func (r *reader) wrongType(path string, got json.Token, want string) {
	if r.err != nil {
		return
	}
	var text string
	switch t := got.(type) {
	case json.Delim:
		text = map[json.Delim]string{'{': "an object", '[': "an array"}[t]
	case json.Number:
		text = "a number"
	case string:
		text = "a string"
	case bool:
		text = "a boolean"
	case nil:
		text = "null"
	}
	r.fail(path, ErrType, "%s, want %s", text, want)
}

// object reads {"name": …} with exactly the given fields in any order.
func (r *reader) object(path string, fields ...field) {
	if t := r.token(path); t != json.Delim('{') {
		r.wrongType(path, t, "an object")
		return
	}
	seen := make([]bool, len(fields))
	for r.err == nil && r.dec.More() {
		name, ok := r.token(path).(string)
		if !ok {
			return // the token failed: the decoder lets no other type be a name
		}
		r.member(path, name, fields, seen)
	}
	r.token(path)
	for i, f := range fields {
		if !seen[i] && !f.optional {
			r.fail(join(path, f.name), ErrMissingField, "")
		}
	}
}

func (r *reader) member(path, name string, fields []field, seen []bool) {
	for i, f := range fields {
		if f.name != name {
			continue
		}
		if seen[i] {
			r.fail(join(path, name), ErrDuplicateField, "")
			return
		}
		seen[i] = true
		f.read(join(path, name))
		return
	}
	r.fail(path, ErrUnknownField, "%.80q", name)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// array reads at most limit entries.
func (r *reader) array(path string, limit int, read func(path string)) {
	if t := r.token(path); t != json.Delim('[') {
		r.wrongType(path, t, "an array")
		return
	}
	for i := 0; r.err == nil && r.dec.More(); i++ {
		if i == limit {
			r.fail(path, ErrTooMany, "at most %d are allowed", limit)
			return
		}
		read(fmt.Sprintf("%s[%d]", path, i))
	}
	r.token(path)
}

// end refuses anything but white space after the value.
func (r *reader) end() error {
	if r.err == nil {
		at := r.position()
		if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
			r.fail("", ErrTrailingData, "%s", at)
		}
	}
	return r.err
}

func (r *reader) text(path string) string {
	t := r.token(path)
	s, ok := t.(string)
	if !ok {
		r.wrongType(path, t, "a string")
	}
	return s
}

func (r *reader) boolean(path string) bool {
	t := r.token(path)
	b, ok := t.(bool)
	if !ok {
		r.wrongType(path, t, "true or false")
	}
	return b
}

func (r *reader) uint64(path string) uint64 {
	t := r.token(path)
	number, ok := t.(json.Number)
	if !ok {
		r.wrongType(path, t, "a number")
		return 0
	}
	if !r.decimal(path, number.String()) {
		return 0
	}
	n, err := strconv.ParseUint(number.String(), 10, 64)
	if err != nil {
		r.fail(path, ErrOverflow, "%.80s", number)
	}
	return n
}

// wei reads an amount as a string of decimal digits: a JSON number of that size
// is rounded by most programs that would write or show the file.
func (r *reader) wei(path string) *uint256.Int {
	t := r.token(path)
	digits, ok := t.(string)
	if !ok {
		r.wrongType(path, t, "a string of decimal digits, in wei")
		return new(uint256.Int)
	}
	if !r.decimal(path, digits) {
		return new(uint256.Int)
	}
	n, err := uint256.FromDecimal(digits)
	if err != nil {
		r.fail(path, ErrOverflow, "%.100s does not fit 256 bits", digits)
		return new(uint256.Int)
	}
	return n
}

// decimal accepts 0 and digits without a leading zero.
func (r *reader) decimal(path, digits string) bool {
	switch {
	case r.err != nil:
	case strings.HasPrefix(digits, "-"):
		r.fail(path, ErrNegative, "%.80s", digits)
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		r.fail(path, ErrNotInteger, "%.80q", digits)
	case len(digits) > 1 && digits[0] == '0':
		r.fail(path, ErrNotInteger, "%.80q has a leading zero", digits)
	}
	return r.err == nil
}

func (r *reader) address(path string) crypto.Address {
	text := r.text(path)
	if r.err != nil {
		return crypto.Address{}
	}
	a, err := crypto.ParseAddress(text)
	if err != nil {
		r.fail(path, ErrAddress, "%s", err)
	}
	return a
}

// optionalAddress reads an address, or null for none.
func (r *reader) optionalAddress(path string) *crypto.Address {
	t := r.token(path)
	if t == nil {
		return nil
	}
	text, ok := t.(string)
	if !ok {
		r.wrongType(path, t, "an address or null")
		return nil
	}
	a, err := crypto.ParseAddress(text)
	if err != nil {
		r.fail(path, ErrAddress, "%s", err)
	}
	return &a
}
