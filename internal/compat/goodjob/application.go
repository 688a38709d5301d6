package goodjob

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// What an app has that names nothing else, or was made by another surface.
const (
	defaultStep       = 5 // seconds
	defaultRetryTotal = 3
)

const (
	maxAppName = 100 // characters
	maxURL     = 200 // characters
	maxRemark  = 255 // characters
	maxStep    = 3600
	maxRetries = 10
)

// application is the answer to its creation.
type application struct {
	AppKey    string `json:"appKey"`
	SecretKey string `json:"secretKey"`
}

// createApplication makes an app. It is not signed: there is no secret yet.
func (a *api) createApplication(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
	params, err := parameters(r)
	if err != nil {
		return httpkit.Response{}, err
	}
	in, err := a.appInput(params)
	if err != nil {
		return httpkit.Response{}, err
	}
	app, secret, err := a.svc.RegisterApp(ctx, r.Bearer(), control.Principal{}.Via(Name, r.Address(), r.ID()), in)
	if err != nil {
		return httpkit.Response{}, appRefusal(err)
	}
	return ok(application{app.Key, secret})
}

// appInput reads the parameters in the document's order: the first rule that is broken is answered.
func (a *api) appInput(p compat.Params) (in control.AppInput, err error) {
	in = control.AppInput{Surface: Name, DigitKey: true}
	if in.Name.V, err = text(p.Get("appName"), nameApp, true, maxAppName); err != nil {
		return in, err
	}
	if in.Step, err = whole(p.Get("step"), nameStep, maxStep); err != nil {
		return in, err
	}
	if in.RetryTotal, err = whole(p.Get("retryTotal"), nameRetry, maxRetries); err != nil {
		return in, err
	}
	if in.CallbackURL.V, err = text(p.Get("linkUrl"), nameURL, true, maxURL); err != nil {
		return in, err
	}
	remark, err := text(p.Get("remark"), nameRemark, false, maxRemark)
	if err != nil {
		return in, err
	}
	if remark == "" {
		remark = compat.FormatTime(a.svc.Now(), a.zone)
	}
	if in.HeaderStyle.V, err = text(p.Get("callbackHeaderStyle"), nameStyle, false, 16); err != nil {
		return in, err
	}
	in.HeaderStyle.Set = in.HeaderStyle.V != ""
	in.Name.Set, in.CallbackURL.Set, in.Remark = true, true, control.Some(remark)
	if !in.Step.Set {
		in.Step = control.Some[int64](defaultStep)
	}
	if !in.RetryTotal.Set {
		in.RetryTotal = control.Some[int64](defaultRetryTotal)
	}
	return in, nil
}

// appRefusal says what the use case refused.
func appRefusal(err error) error {
	names := map[string]string{"name": nameApp, "callbackUrl": nameURL, "step": nameStep, "retryTotal": nameRetry, "remark": nameRemark, "callbackHeaderStyle": nameStyle}
	switch task.KindOf(err) {
	case task.Unauthorized, task.Forbidden:
		return refusal(textNeedsAdmin)
	case task.Invalid:
		for _, f := range fields(err) {
			if name := names[f.Field]; name != "" {
				return rule(name, ruleURL)
			}
		}
	}
	return err
}

// text reads a parameter that is a text of at most so many characters.
func text(v compat.Value, name string, required bool, most int) (string, error) {
	if !v.Given() {
		if required {
			return "", rule(name, ruleRequired)
		}
		return "", nil
	}
	s, ok := v.Scalar()
	switch {
	case !ok || strings.ContainsRune(s, 0):
		return "", rule(name, ruleString)
	case required && strings.TrimSpace(s) == "":
		return "", rule(name, ruleRequired)
	case utf8.RuneCountInString(s) > most:
		return "", rule(name, fmt.Sprintf("不能超过 %d 个字符", most))
	}
	return s, nil
}

// whole reads a parameter that is a whole number from 1 up to most.
func whole(v compat.Value, name string, most int64) (m control.Maybe[int64], err error) {
	if !v.Given() {
		return m, nil
	}
	s, ok := v.Scalar()
	s = strings.TrimSpace(s)
	number := ok && strings.Trim(s, "+-.0123456789eE") == ""
	if _, err := strconv.ParseFloat(s, 64); !number || err != nil && !isRange(err) {
		return m, rule(name, ruleNumeric)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil && !isRange(err):
		return m, rule(name, ruleInteger)
	case err != nil || n < 1 || n > most:
		return m, rule(name, fmt.Sprintf("必须在 1 到 %d 之间", most))
	}
	return control.Some(n), nil
}
