package config

import "strings"

// Markdown gives the table of all settings, for the README and docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| Environment | In the file | Default | Processes | Meaning |\n|---|---|---|---|---|\n")
	for _, s := range Settings() {
		b.WriteString("| `" + s.Env() + "`")
		if s.Secret {
			b.WriteString(", `…_FILE`")
		}
		b.WriteString(" | `" + s.Key + "` | " + s.markdownDefault() + " | " + s.markdownRoles() + " | " + s.Doc)
		if s.Range != "" {
			b.WriteString(" " + upperFirst(s.Range) + ".")
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

func (s Setting) markdownDefault() string {
	var parts []string
	if s.Default != "" {
		parts = append(parts, "`"+s.Default+"`")
	}
	for _, n := range roleNames {
		if d, ok := s.Defaults[n.role]; ok {
			parts = append(parts, n.name+" `"+d+"`")
		}
	}
	if s.Required != 0 {
		parts = append(parts, "required: "+s.Required.String())
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, "; ")
}

func (s Setting) markdownRoles() string {
	if s.Roles.Has(serves) && s.Roles&serves == serves {
		rest := s.Roles &^ serves
		if rest == 0 {
			return "all"
		}
		return "all, " + rest.String()
	}
	return s.Roles.String()
}

func upperFirst(text string) string {
	if text[0] == '`' {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
