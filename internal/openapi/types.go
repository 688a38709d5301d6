package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// builder makes the schemas of Go types. Each named struct becomes one component.
type builder struct {
	schemas Properties        // components, in the order in which they were met
	taken   map[string]bool   // components by name
	rules   map[string][]rule // what types do not tell, by Type.member
	used    map[string]bool   // members that were made
	bodies  map[string]bool   // components that requests are made of: closed
}

var (
	idType   = reflect.TypeFor[apiv1.ID]()
	timeType = reflect.TypeFor[apiv1.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// ref gives a reference to the component of a type and makes it when it is new.
func (b *builder) ref(t reflect.Type) *Schema {
	name := componentName(t)
	if !b.taken[name] {
		b.taken[name] = true
		at := len(b.schemas)
		b.schemas = append(b.schemas, Property{Name: name})
		b.schemas[at].Schema = b.object(name, t)
	}
	return &Schema{Ref: "#/components/schemas/" + name}
}

// componentName is the name of a type; List[Queue] is QueueList.
func componentName(t reflect.Type) string {
	name := t.Name()
	if generic, of, ok := strings.Cut(name, "["); ok {
		of = strings.TrimSuffix(of, "]")
		return of[strings.LastIndexByte(of, '.')+1:] + generic
	}
	return name
}

// object is the schema of a struct: what reflection tells, what its comments say, and what the rules add.
func (b *builder) object(name string, t reflect.Type) *Schema {
	s := &Schema{Type: Types{"object"}, Description: comment(t.Name(), ""), Closed: b.bodies[name]}
	if strings.HasSuffix(name, "List") && s.Description == "" {
		s.Description = "A page of a list."
	}
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous {
			continue
		}
		wire, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if wire == "-" {
			continue
		}
		m := &member{schema: b.value(f.Type), required: !strings.Contains(options, "omit"), closed: b.bodies[name]}
		m.nullable = nullable(f.Type, m.required) && !m.closed || b.bodies[name] && nullIsAbsent[name] && !m.required
		m.schema.Description = comment(strings.TrimSuffix(name, "List"), f.Name)
		if strings.HasSuffix(name, "List") {
			m.schema.Description = comment(strings.Split(t.Name(), "[")[0], f.Name)
		}
		b.apply(name+"."+wire, m)
		if m.required {
			s.Required = append(s.Required, wire)
		}
		s.Properties = append(s.Properties, Property{wire, m.done()})
	}
	if more, ok := conditions[name]; ok {
		s.AllOf = more
	}
	if least := least[name]; least > 0 {
		s.MinProperties = &least
	}
	return s
}

// nullable tells which values of answers may be null: ids, times and pointers without a value that are always written.
func nullable(t reflect.Type, always bool) bool {
	return always && (t == idType || t == timeType || t.Kind() == reflect.Pointer)
}

// member is a member of an object while its schema is made.
type member struct {
	schema             *Schema
	required, nullable bool
	closed             bool // of a request
}

// done is the schema with null among its types where null may be.
func (m *member) done() *Schema {
	s := m.schema
	switch {
	case !m.nullable:
		return s
	case s.Ref != "":
		return &Schema{AnyOf: []*Schema{{Ref: s.Ref}, {Type: Types{"null"}}}, Description: s.Description}
	case len(s.Type) > 0:
		s.Type = append(slices.Clone(s.Type), "null")
		if s.Enum != nil {
			s.Enum = append(slices.Clone(s.Enum), nil)
		}
	}
	return s
}

// value is the schema of a member's type before any rule.
func (b *builder) value(t reflect.Type) *Schema {
	switch t {
	case idType:
		return &Schema{Type: Types{"string"}, Pattern: `^[1-9][0-9]{0,15}$`}
	case timeType:
		return &Schema{Type: Types{"string"}, Format: "date-time"}
	case rawType:
		return &Schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.value(t.Elem())
	case reflect.Struct:
		return b.ref(t)
	case reflect.Slice:
		return &Schema{Type: Types{"array"}, Items: b.value(t.Elem())}
	case reflect.Array:
		n := t.Len()
		return &Schema{Type: Types{"array"}, Items: b.value(t.Elem()), MinItems: &n, MaxItems: &n}
	case reflect.Map:
		return &Schema{Type: Types{"object"}, Additional: b.value(t.Elem())}
	case reflect.String:
		return &Schema{Type: Types{"string"}}
	case reflect.Bool:
		return &Schema{Type: Types{"boolean"}}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &Schema{Type: Types{"integer"}}
	case reflect.Float64:
		return &Schema{Type: Types{"number"}}
	}
	panic(fmt.Sprintf("openapi: %s has no schema", t)) // a mistake in a wire type: the first test that runs finds it
}

func (b *builder) apply(name string, m *member) {
	for _, edit := range b.rules[name] {
		edit(b, m)
	}
	b.used[name] = true
}

// comment is what the source says of a type, or of a field of one.
func comment(typ, field string) string {
	typ, _, _ = strings.Cut(typ, "[")
	if field != "" {
		typ += "." + field
	}
	return comments[typ]
}
