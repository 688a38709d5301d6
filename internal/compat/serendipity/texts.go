package serendipity

import "strconv"

// The texts of the answers are part of the interface.
const (
	textCreated     = "Ok!"
	textOK          = "ok!"
	textRepeated    = "请勿重复提交!"
	textUnknown     = "Unknown!"
	textBadParams   = "参数错误!"
	textNotCreated  = "创建应用失败!"
	textUnknownPair = "Unknown Application Key#"
	textKilled      = "Killed"
	textNotKilled   = "Not fully killed, try again later..."
	textNotPushed   = "推送nsq失败!"
	textTooLarge    = "提交数据过大!"
	memoFailed      = "API接口异常,数据请求失败!"
	memoCancelled   = "任务已取消"
	memoTimeout     = "任务执行超时"
	memoLost        = "执行节点异常,任务已重新投递!"
)

// The names of parameters in texts.
const (
	nameApp     = "应用名称"
	nameURL     = "接口地址"
	nameStep    = "重试间隔"
	nameRetry   = "重试次数"
	nameRemark  = "任务描述"
	nameTaskNo  = "任务编号"
	nameTask    = "任务名称"
	nameRuntime = "执行时间"
	nameContent = "任务内容"
	nameTimeout = "任务的执行限制时间"
)

// The texts of rules follow a name and a space.
const (
	ruleRequired = "字段是必须的"
	ruleJSON     = "必须是一个合法的 JSON 字符串"
	ruleDate     = "必须是一个合法的日期"
	ruleInteger  = "必须是整数"
	ruleURL      = "无效的格式"
	ruleString   = "必须是字符串"
)

func ruleLength(most int) string { return "不能超过 " + strconv.Itoa(most) + " 个字符" }

func ruleRange(least, most int64) string {
	return "必须在 " + strconv.FormatInt(least, 10) + " 到 " + strconv.FormatInt(most, 10) + " 之间"
}

// unknownTask is the answer to an id that no task of the app has.
func unknownTask(id string) refusal { return refusal("Unknown Task [" + id + "]#") }

func httpCode(n int) string { return strconv.Itoa(n) }
