package openapi

import (
	"bytes"
	"encoding/json"
)

// Schema is a JSON Schema of draft 2020-12, as far as this API needs it. The zero Schema allows everything.
type Schema struct {
	Ref         string  `json:"$ref,omitempty"`
	Type        Types   `json:"type,omitempty"`
	Description string  `json:"description,omitempty"`
	Format      string  `json:"format,omitempty"`
	Pattern     string  `json:"pattern,omitempty"`
	Enum        []any   `json:"enum,omitempty"`
	Const       any     `json:"const,omitempty"`
	Minimum     *Number `json:"minimum,omitempty"`
	Maximum     *Number `json:"maximum,omitempty"`
	MinLength   *int    `json:"minLength,omitempty"`
	MaxLength   *int    `json:"maxLength,omitempty"`

	Items         *Schema    `json:"items,omitempty"`
	MinItems      *int       `json:"minItems,omitempty"`
	MaxItems      *int       `json:"maxItems,omitempty"`
	Properties    Properties `json:"properties,omitempty"`
	Required      []string   `json:"required,omitempty"`
	MinProperties *int       `json:"minProperties,omitempty"`
	MaxProperties *int       `json:"maxProperties,omitempty"`
	PropertyNames *Schema    `json:"propertyNames,omitempty"`
	// Additional is what members that Properties does not name must be.
	Additional *Schema `json:"additionalProperties,omitempty"`
	// Closed refuses members that Properties does not name.
	Closed bool `json:"-"`

	AllOf []*Schema `json:"allOf,omitempty"`
	AnyOf []*Schema `json:"anyOf,omitempty"`
	Not   *Schema   `json:"not,omitempty"`
	If    *Schema   `json:"if,omitempty"`
	Then  *Schema   `json:"then,omitempty"`

	Default  any   `json:"default,omitempty"`
	Examples []any `json:"examples,omitempty"`
}

// Number is a bound of a range, exact up to 2^53.
type Number float64

// MarshalJSON writes whole numbers without an exponent.
func (n Number) MarshalJSON() ([]byte, error) {
	if n == Number(int64(n)) {
		return json.Marshal(int64(n))
	}
	return json.Marshal(float64(n))
}

// Types are the types that a value may have; one is written as a string, several as an array.
type Types []string

// MarshalJSON writes the shorter form.
func (t Types) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// Property is a member of an object.
type Property struct {
	Name   string
	Schema *Schema
}

// Properties are the members of an object, in the order of their Go type.
type Properties []Property

// MarshalJSON writes an object in that order.
func (p Properties) MarshalJSON() ([]byte, error) {
	return ordered(len(p), func(i int) (string, any) { return p[i].Name, p[i].Schema })
}

// Get gives a member's schema; nil when there is none.
func (p Properties) Get(name string) *Schema {
	for _, x := range p {
		if x.Name == name {
			return x.Schema
		}
	}
	return nil
}

// MarshalJSON writes Closed as additionalProperties: false.
func (s *Schema) MarshalJSON() ([]byte, error) {
	type plain Schema
	if !s.Closed {
		return encode((*plain)(s))
	}
	return encode(struct {
		*plain
		Additional bool `json:"additionalProperties"` // hides the other one
	}{plain: (*plain)(s)})
}

// ordered writes an object whose members keep their order.
func ordered(n int, member func(i int) (string, any)) ([]byte, error) {
	b := []byte{'{'}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		name, v := member(i)
		key, err := encode(name)
		if err != nil {
			return nil, err
		}
		val, err := encode(v)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), val...)
	}
	return append(b, '}'), nil
}

// encode is json.Marshal that leaves <, > and & alone.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
