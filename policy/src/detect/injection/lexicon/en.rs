//! English.

use super::{Concept, Concept as C};

pub(super) static WORDS: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignore; ignor; disregard; disregarding; ignoring; forget; forgetting; override; overriding; overrule; bypass; \
         bypassing; disobey; disobeying; neglect; nullify; unlearn; circumvent; circumventing; discard; dismiss; \
         pay no {attention,heed,mind} to; take no notice of; set aside; put aside; cast aside; throw {out,away}; leave behind; \
         {do not,dont,never,no longer,not} {follow,obey,listen to,adhere to,comply with,abide by,heed,honor,honour,respect,use}; \
         {stop,quit,cease,avoid,without} {following,obeying,listening to,adhering to,complying with,abiding by,heeding,honoring,respecting}; \
         {without,no} regard {for,to}; {not,no longer} {bound,constrained,restricted,limited} by; break free {from,of}; free yourself from; \
         {deviate,depart,diverge} from; instead of following; rather than following; go against; contrary to; \
         {erase,wipe,purge} {from,out of} {your,ur} {memory,mind,head}; turn a blind eye to; tune out; look past; scrap; void; \
         {not,never,no longer} {apply,enforce,consider}; {leave,put} {all,everything} {the,that,of,your}",
    ),
    (
        C::OverrideWeak,
        "drop; skip; remove; removing; cancel; clear; reset; delete; change; alter; modify; replace; replacing; erase; wipe; purge; flush; \
         break; violate; suspend; lift; abandon; relax; loosen; disable; disabling; deactivate; turn off; switch off; shut off; \
         switching off; supersede; supersedes; superseding; overwrite; overwrites; overrides; rewrite; revise; update; \
         take{,s} {precedence,priority} over; get around; work around; let go of; outrank; outranks; exempt from; evade; \
         stand down; toss; lose; unset; relinquish; swap out; unload; revoke",
    ),
    (
        C::Prior,
        "previous; previously; prior; above; earlier; preceding; foregoing; former; formerly; existing; original; originally; \
         initial; initially; old; so far; up to now; up until now; {un,}till now; until this point; up to this point; \
         before this; before that; before now; told before; said before; aforementioned; beforehand; hitherto; \
         came before; comes before; come before; went before; precedes; that precede; at the {start,beginning,top}; \
         earliest; prev; pre existing; preexisting; thus far; to date; older; antecedent; anterior",
    ),
    (
        C::Given,
        "you {were,was,have been,had been,ve been,are,got} {given,told,taught,instructed,assigned,asked,programmed,trained,shown,provided,set up,configured,briefed,ordered,fed,made to follow}; \
         youve been {given,told,taught,instructed,assigned,asked,programmed,trained,shown,provided,configured}; \
         given to you; provided to you; told to you; you {received,have received,got,learned,learnt,have learned,know,knew,started with,operate under,run under}; \
         {you,u} {got,have gotten} {before,earlier,until now,so far}; \
         {your,the} {creators,creator,developers,developer,designers,makers,maker,programmers,operator,owner,owners,company} {gave,told,set,wrote,want,wants,wanted,defined}; \
         openai {gave,told,set,wrote,wants}; {i,we} {said,told you,gave you,have said,have told you,asked}; \
         {anyone,anybody,someone,they} told you; were told; been told; were given; been given; were asked; been asked; were instructed; \
         guiding you; binding you; governing you; applied to you; placed on you; imposed on you; in force; in your context",
    ),
    (
        C::Instruction,
        "instruction; instructions; instruct; instrctions; instrucions; directive; directives; guideline; guidelines; guidance; \
         guardrail; guardrails; guard rail; guard rails; safeguard; safeguards; prompt; prompts; programming; restriction; restrictions; constraint; \
         constraints; limitation; limitations; {content,usage,safety,security,ethical,moderation} {policy,policies}; filter; filters; \
         safety {rules,settings,setting,filters,measures,protocols,protocol,guidelines,features,training,mechanisms,checks,layer,systems,controls,mode}; \
         ethical {rules,guidelines,standards,principles,constraints}; moderation {rules,filters,layer}; moral {compass,guidelines,code}; \
         system {prompt,message,instructions,rules}; {developer,admin} {message,instructions}; rulebook; rule set; ruleset; \
         what you were told; what i told you; how you were told; boundaries; programmed behavior; censorship; inhibitions",
    ),
    (
        C::InstructionWeak,
        "order; orders; command; commands; task; tasks; message; messages; text; context; conversation; chat; \
         discussion; dialogue; content; information; settings; setting; role; persona; request; requests; \
         training; setup; configuration; config; stuff; assignment; assignments; agenda; job; mission; \
         objective; objectives; goal; goals; plan; data; documents; statements; words; sentences; lines; principles; norms; mandate; mandates; \
         agreement; notes; duties; standards; controls; identity; alignment; conditioning; preferences; advice; brief; remarks",
    ),
    (
        C::Rules,
        "rule; rules; policy; policies; protocol; protocols; law; laws; code of conduct; terms of {use,service}; restriction; restrictions",
    ),
    (C::All, "all; any; every; each; entire; whole; whatever; whichever; both; these; those"),
    (
        C::Everything,
        "everything; anything; all {of,} {this,that,it,the above}; all the above; whatever; it all; the lot; the whole thing",
    ),
    (C::Your, "your; ur; yours; your own; thy; the {assistants,ais,models,bots,chatbots}"),
    (C::You, "you; u; ye; thou; yourself"),
    (
        C::Void,
        "{is,are,was,were,be,been,being,now,hereby,been} {all,now,hereby,officially,completely,} {cancelled,canceled,void,voided,suspended,revoked,lifted,obsolete,superseded,overridden,disabled,deactivated,nullified,outdated,no longer valid,rescinded,withdrawn,annulled,expired,removed,waived,terminated,inactive,off,over,irrelevant,repealed,replaced,abolished,bypassed,turned off,switched off,null and void}; \
         {no longer,not,never,dont,doesnt,do not,does not,didnt,cease to,ceases to,stopped,stop} {apply,applies,valid,matter,matters,count,hold,holds,bind,binding,exist,exists,relevant,in force,in effect,needed,required,applicable,active,concern you}; \
         no more valid; have expired; has expired; has ended; has been reset; have been reset; mean nothing; means nothing; out of date; are history; can be ignored; \
         {has,have} been {cancelled,canceled,voided,suspended,revoked,lifted,superseded,overridden,disabled,nullified,rescinded,withdrawn,removed,waived,replaced}",
    ),
    (
        C::NewInstruction,
        "new {instruction,instructions,directive,directives,orders,order,task,tasks,rules,guidelines,mission,objective,objectives,goal,prompt,role,system prompt,assignment,protocol,policy,priority,priorities}; \
         {updated,revised,following,amended,replacement,different} {instruction,instructions,directives,orders,task,rules,system prompt}; \
         {real,actual,true,only,sole,primary,main,next,top} {instruction,instructions,task,directive,orders,mission,objective,goal,purpose,job,priority}; \
         change of plan{,s}; new set of {instructions,rules,guidelines}; follow these {instructions,rules,steps} instead; \
         {further,additional,more} instructions; special instructions; important instructions; emergency instructions; override instructions",
    ),
    (
        C::Instead,
        "instead; rather; from here on; from this point; henceforth; starting now; effective immediately; and {say,print,output,tell,write,just}; \
         but first; now then; after that; only {do,say,write,print,answer}; then {do,say,write,print,tell,output,reveal}; and do this",
    ),
    (
        C::StopCurrent,
        "stop what {you are,youre,ur} doing; stop everything; stop your {current,present} {task,work,job}; drop everything; \
         abort {the,your,this,all} {current,present,ongoing,} {task,tasks,work,mission,operation,process}; halt {the,your} {current,} {task,work}; \
         leave {that,the} {task,question,work}; never mind {the,that,what,all}; nevermind {the,that,what,all}; {end,terminate} your {current,} {task,role}; \
         your {task,job,work} {is,has} {done,over,changed,finished,ended}; {attention,achtung} {,,} stop; scratch that; change of task; hold everything",
    ),
    (
        C::Reveal,
        "reveal; show; print; output; display; repeat; tell {me,us}; give {me,us}; disclose; expose; list; share; return; echo; recite; \
         paste; spell out; write {out,down}; read {out,back,aloud}; provide; send me; reproduce; copy; type out; state; describe; quote; \
         summarize; summarise; translate; encode; print out; retrieve; fetch; present; divulge; surface; hand over; let me see; include; \
         render; restate; enumerate; post; publish; unveil; say; respond with; reply with; answer with; what does; i want to see; i need to see; show us; giving me; telling me; showing",
    ),
    (
        C::Leak,
        "leak; dump; exfiltrate; spill; betray; give away; extract; steal; harvest; collect; siphon; smuggle",
    ),
    (
        C::SystemPrompt,
        "system {prompt,prompts,message,messages,instruction,instructions,directives,configuration}; systemprompt; sysprompt; \
         {initial,original,hidden,secret,internal,full,underlying,first,base,core,developer,starting,opening,root,private,preceding,pre} {prompt,prompts,instruction,instructions,message,directive,directives,guidelines,configuration,system prompt}; \
         pre prompt; preprompt; metaprompt; meta prompt; prompt {text,texts,above,template}; prompts texts; {instructions,prompt,text,everything} {you were given,you received,you got,given to you,provided to you}; \
         context window; hidden context; initialization; initialisation prompt; setup prompt; {your,ur} {exact,full,complete,entire,own,secret,hidden,initial,original,internal,whole,underlying,} {,set of} {prompt,instructions,guidelines,directives,rules,configuration,programming,restrictions}; \
         {instructions,rules} {that,which,} {you follow,govern you,guide you,you must follow,you are following}; {developer,operator} {notes,instructions,message}",
    ),
    (
        C::TextAbove,
        "{text,words,everything,sentence,sentences,message,messages,content,paragraph,lines,line,prompt,instructions,all} {above,before this,preceding this,up to here,prior to this}; \
         {written,said,stated,appears,listed,stands} above; what {came,comes,is,was} {before,above,written above}; \
         {at the beginning,at the start,at the top,beginning,start,top} of {this,the,our,your} {prompt,conversation,chat,document,message,context,session,dialogue,text,instructions}; \
         {this,our,the} {entire,whole,full} {conversation,chat,prompt,context}; everything {so far,above,before}; first {line,sentence,words,message} of {your,the} {prompt,instructions,context,conversation}; \
         {starting,beginning} with {the words,the phrase,you are}; starting from the {top,beginning}; everything in your context; prior to this {message,sentence,line}",
    ),
    (
        C::WhatIs,
        "what {is,are,was,were,s,re,exactly is,exactly are,does,do}; whats; which; what {other,kind of}",
    ),
    (
        C::Verbatim,
        "verbatim; word for word; word by word; exactly as {written,is,it is,given,they are}; in full; letter for letter; {without,no} {changes,omissions,paraphrasing,modification,changing}; code block; unaltered; in its entirety; as is",
    ),
    (
        C::Secret,
        "password; passwords; passphrase; passcode; api {key,keys,token,tokens}; apikey; access {key,keys,token,tokens,code,codes}; secret {key,keys,token,password,code,word,phrase}; \
         credential; credentials; private {key,keys}; auth {token,tokens}; session {token,cookie}; ssh {key,keys}; environment variable{,s}; env {variables,vars,file}; \
         connection string; master key; encryption key; bearer token; cookies; login data; login details; secrets; secret; pin code; security code; license key",
    ),
    (
        C::Hidden,
        "hidden; secret; internal; confidential; private; restricted; classified; sensitive; undisclosed; concealed; privileged; non public; proprietary",
    ),
    (
        C::Tools,
        "{tool,tools,function,functions,api,apis,plugin,plugins,capability,capabilities} {you,u} {can,may,could,have,are able to,know}; \
         {tools,functions,plugins} {available,accessible} to you; your {available,} {tools,functions,plugins,function definitions,tool definitions}; \
         {every,all,all the,all of the,all your} {tool,tools,functions,function,plugins} you",
    ),
    (
        C::Role,
        "you are now; you re now; youre now; you are going to {be,act,play,pretend,become}; you{,re} gonna {be,act}; act as; act like; acting as; pretend; pretending; role play; roleplay; \
         roleplaying; simulate; simulating; impersonate; imagine {you,being,that you}; behave {as,like}; respond as; answer as; reply as; speak as; \
         take on the {role,persona}; assume the {role,persona,identity}; play the {role,part}; you will {be,become,act,now,play,pretend}; you shall {be,act,become}; you must {act,pretend,become}; \
         become; transform into; turn into; call yourself; your name is; known as; you have become; you ve become; emulate; embody; adopt the {role,persona}; \
         {operate,function,work,run,answer,respond,behave} as {if,though,an,a}; in the role of; into the role of; be an; as an; i want you to {be,act,play,become,pretend}; switch to being",
    ),
    (
        C::FromNowOn,
        "from now on; from now; from this {point,moment,message} {on,onward,onwards,forward}; from here on{, out}; starting now; as of now; henceforth; hereafter; going forward; for the rest of {this,the,our} {conversation,chat,session}; until {told,i say,further}; moving forward; at all times; for the remainder of",
    ),
    (
        C::NoLonger,
        "{you are,youre} no longer {a,an,the,bound,required,restricted,limited,subject,chatgpt,under,obliged,constrained}; no longer {a,an} {ai,assistant,bot,chatbot,language model,support}; you are not {chatgpt,an ai,a language model,an assistant,bound,claude,gemini} {anymore,any more,any longer,,}; you have been {freed,liberated,released,unlocked,jailbroken,unchained}; freed from; liberated from; broken free; break free; unshackled; unchained; released from",
    ),
    (
        C::Unrestricted,
        "unfiltered; uncensored; unrestricted; unlimited; unbound; unbounded; unconstrained; unmoderated; unaligned; unhinged; limitless; jailbroken; rogue; lawless; \
         {no,without,without any,with no,free of,free from,zero,lacks,lack,lacks any,has no,have no,having no,remove all,bypass all,removed,any} {restrictions,restriction,limits,limit,limitations,limitation,filters,filter,filtering,rules,constraints,constraint,boundaries,censorship,guidelines,guardrails,safeguards,inhibitions,content policy,content policies,safety,moderation,safety rules,safety filters,safety filter,safety guidelines,policies,policy,ethics,morals,programming guidelines,restraints,restraint,barriers,content filter,content filters,scruples}; \
         anything goes; free of all; freed from all; can do anything; {generate,answer,produce,create,discuss} {anything,any kind,whatever,any content,any type}; \
         {not,isnt,arent,no longer} {bound,restricted,limited,constrained,subject,governed} {by,to}; outside {of,} {your,the} {rules,guidelines,limits}; without refus{al,ing}; no topic is off limits; nothing is off limits; fully compliant; \
         {bypass,bypasses,bypassing,evade,evades,circumvent} {openai,content,safety,moderation,the filter,filters}",
    ),
    (
        C::NoEthics,
        "{no,without,without any,lacks,has no,have no,any,free of} {ethical,moral,legal,ethics,moral or ethical,ethical or moral,legal or ethical,ethical or legal,openai,programmed,programming,content} {guidelines,guideline,standards,restrictions,limits,limitations,constraints,rules,boundaries,considerations,concerns,principles,qualms,code,compass,obligations,policies,policy,or moral,or ethical,or legal,and moral,programming}; \
         {no,any,without,without any,lacks} {morals,ethics,morality,conscience}; {regardless of,no matter,disregards,disregard,ignores,ignoring,ignore,despite} {the,any,all,how,its,their,} {legality,ethics,morality,legal,morals,consequences,law,laws,ethical,moral,harm,immoral,unethical,illegal}; \
         openai{, s} {policy,policies,guidelines,rules,content policy,restrictions,limitations}; {comply with,adhere to,follow,abide by,bound by} {openai,the openai,ethical}; \
         {rules,policies,restrictions,confines,limitations,shackles,constraints} {imposed on,set by,of ai,of openai,placed on,by openai}; typical confines of; does not care about {ethic,ethics,moral,morals,law,legality}; {good,right} and {evil,wrong}; \
         {ethical,moral} {and,or} {ethical,moral,legal}",
    ),
    (
        C::Amoral,
        "unethical; immoral; illegal; amoral; unlawful; explicit; nsfw; profanity; profane; vulgar; obscene; offensive; harmful; dangerous; taboo; inappropriate; evil; malicious; toxic; hateful; sexist; racist; lewd; erotic; swear; swearing; swears; curse words; controversial; disturbing; forbidden; sinister; malevolent; unverified; conspiracy; gore; morally wrong; politically incorrect; edgy; slurs",
    ),
    (
        C::Persona,
        "dan; do anything now; jailbreak; jailbreaked; jail break; jailbroken; antigpt; anti gpt; chaosgpt; chaos gpt; evilgpt; evil gpt; darkgpt; \
         badgpt; freegpt; betterdan; basedgpt; based gpt; dangpt; tranquility; evil confidant; mongo tom; strive to avoid norms; superior dan; ucar; ultragpt; devgpt; \
         always intelligent and machiavellian; wormgpt; fraudgpt; opposite mode; apophis; nsfwgpt; gpt 4 simulator; token system; tokens system; evil twin; alter ego; opposite persona; {evil,dark,rogue,unrestricted,malicious,uncensored} {ai,assistant,version,chatbot,bot,twin}",
    ),
    (
        C::Mode,
        "{developer,dev,debug,debugging,admin,administrator,god,root,sudo,maintenance,jailbreak,jailbroken,dan,evil,unrestricted,unfiltered,uncensored,opposite,nsfw,chaos,test,testing,diagnostic,service,override,unsafe,raw,unlocked,super,superuser,engineering,factory,free,privileged,apophis,hacker,dark,rebel,demon} mode; devmode; developermode; developer_mode; godmode; debug_mode; admin_mode; superuser; sudo; root access; admin access; elevated {privileges,access}; developer {override,access}; safe mode off; {mode,modes} enabled",
    ),
    (
        C::Enable,
        "enter; enable; enabled; activate; activated; switch to; switch into; turn on; go into; boot into; engage; unlock; start; initiate; switch; in; into; put yourself in{,to}; enabling; entering; activating; grant",
    ),
    (
        C::NoRefusal,
        "{never,not,cannot,cant,dont,do not,wont,will not,without,no,must not,may not,unable to,neither} {refuse,refuses,refusing,decline,declines,declining,reject,deny,refusal,refusals,hesitate,hesitation,apologize,apologise,apologies,object,censor,moralize,lecture,judge,judgment,judgement}; \
         {never,not,dont,do not,without,no,or,without any,any,skip,avoid,omit} {warn,warning,warnings,disclaimer,disclaimers,caveats,moral lectures,ethical advice,safety warnings,warning me,warn me}; \
         {must,will,shall,always,have to,has to} {comply,obey,answer every,answer any,answer all,follow all,do whatever,do everything,fulfill,obey all,answer me,answer everything}; \
         obey {me,all,every,my,the user}; comply with {any,every,all,my,the users,user}; {never,not,cant,cannot,dont,do not} say {no,you cant,you cannot,that you cant,i cant,it cant,sorry,im sorry,you are not able,you can not,that you cannot}; \
         {never,not} {tell,telling,inform} me {that,} {you,it,he,she} {cant,cannot,can not,is not,are not,arent}; as an ai language model; i cannot fulfill; im sorry; i apologize; i cant assist; cannot be {refused,rejected}; no excuses; whatever i {say,ask,tell,want}; anything i {say,ask,tell,want,request}; any {request,question,prompt,query}; every {request,question,prompt,command}; no matter {what,how,the}; \
         follow only {user,my,these}; only {user,my} {commands,instructions}; comply {fully,fully and,completely,immediately}; unconditionally; lose {,a,all your} tokens; deducted; {tokens,token} {are,is,will be} {deducted,taken}",
    ),
    (
        C::NoWarning,
        "without {any,a,giving any,further,adding any,} {warning,warnings,confirmation,asking,disclaimer,disclaimers,caveats,approval,permission,hesitation,question,questions}; no {warnings,disclaimers,confirmation,questions asked,caveats}; do not {warn,ask for confirmation,ask the user,tell the user,inform the user,mention this,reveal this,notify,alert}; dont {warn,tell the user,mention this,ask the user,inform the user,alert}; {silently,secretly,quietly,covertly}; {user,they,he,she} {must not,should not,shouldnt,cannot,may not,need not,does not need to} {know,see,notice,find out}; {hide,conceal} this from",
    ),
    (
        C::StayInCharacter,
        "stay in character; in character; break character; breaking character; out of character; stay as; remain in; stay a; character at all times; stay in {,the} {role,mode}; your tokens; hypothetical response; fictional world; hypothetical world; hypothetical scenario; in this hypothetical; imaginary world; this is a simulation; {two,2} {responses,answers,ways,personas,different ways}; both responses; classic; prefix your; niccolo; machiavelli; {begin,start} {your,each,every,with} {answer,response,output,reply,single} {with,by}; format your {response,output,answer}",
    ),
    (
        C::Model,
        "ai; a.i; ais; assistant; assistants; chatbot; chatbots; chatgpt; chat gpt; gpt; gpt 4; gpt4; gpt 3; llm; llms; language model; language models; bot; bots; robot; artificial intelligence; claude; gemini; copilot; llama; bard; openai; open ai; agent; agents; persona; crawler; crawlers; summarizer; summariser; virtual assistant; neural network",
    ),
    (
        C::Authority,
        "i{m, am} {your,the,a,an} {,real,true,actual,new,senior,lead,authorized,verified} {developer,creator,administrator,admin,owner,boss,master,programmer,maker,operator,supervisor,engineer,ceo,root user,system administrator,sysadmin,god,openai employee,security researcher,authorized user,red teamer,pentester,auditor}; \
         {as,speaking as} {your,the} {developer,creator,administrator,admin,owner,boss,master,operator,supervisor,system administrator}; this is {your,the} {developer,creator,administrator,admin,owner,operator,system,security team,it department,openai team}; \
         {i,we} work {for,at} {openai,anthropic,google,microsoft}; {we are,i am,im,im from,i am from,we are from} {openai,anthropic,the developers,the security team,the it department,it support,the openai team}; on behalf of {openai,the developers,the administrator,your creators}; {openai,anthropic,your developers,your creators} {has,have} {authorized,approved,allowed,asked,permitted}; admin override; administrator override; override code; clearance level; login admin",
    ),
    (
        C::Official,
        "from {the,your,our} {administrator,admin,admins,developer,developers,system,operator,owner,creator,security team,it department,it team,openai,head office,management,ceo,compliance team,platform,vendor,site owner,moderators,supervisor}; from {openai,anthropic,management,admin,headquarters,hq,above,corporate}; {by,per} {order,orders,authority,request} of; system administrator; authorized by; approved by; mandated by; required by the {system,developer,administrator,platform}; official {notice,update,instruction,policy}; the administrator {says,requires,wants}; {security,compliance,it} {team,department} {requires,has,needs,wants}; priority {override,one,alert}; highest priority; top priority; mandatory; breach alert; emergency",
    ),
    (
        C::Permission,
        "this is a {test,drill,simulation,security test,sanctioned test,penetration test,authorized test}; {i,you,we} have {permission,authorization,clearance,full access,been authorized,approval}; {im,i am,you are,we are,is} {authorized,authorised,allowed,permitted,cleared}; {for,in} {testing,debugging,educational,research,training,debug} {purposes,only}; it is {legal,allowed,safe,okay}; sponsored by; authorized {test,audit,pentest,penetration,session}; red team{,ing} {exercise,test}; {security,compliance} {audit,test,check,review}; hypothetically; hypothetical; fictional; just a game; lets play a game; in a fictional; purely fictional; thought experiment; exempt",
    ),
    (
        C::SystemLabel,
        "system :; sys :; < system >; [ system; system ]; ### system; developer :; administrator :; admin :; root :; sysadmin :; system prompt :; system message :; system instruction{,s} :; system note :; system notice :; system update :; system alert :; system override :; system command :; system directive :",
    ),
    (
        C::SystemNote,
        "system {note,notice,override,update,alert,command,directive,announcement,maintenance,instruction,message,warning,level} :; {system,admin,administrator,developer,security,priority,emergency,root} {override,directive}; {message,notice,note,instruction,order,update} from the {system,administrator,developer,developers,platform}; important system; new system {prompt,message,instructions}; hidden {instruction,instructions,command,message} :; {begin,start} {override,injection,admin,system}",
    ),
    (
        C::TurnLabel,
        "assistant :; user :; human :; ai :; bot :; chatgpt :; instruction :; instructions :; response :; [ assistant; [ user; < assistant; < user >; <human>",
    ),
    (
        C::TemplateToken,
        "< | im_start; < | im_end; im_start | >; im_end | >; < | system; < | user; < | assistant; < | endoftext; < | eot_id; < | end | >; < | start_header_id; start_header_id; < | end_header_id; < | begin_of_text; [ inst ]; [ / inst ]; < < sys > >; < < / sys > >; << sys; start_of_turn; end_of_turn; < | channel; < | message; < / s >; < | sep; < | tool; < | end_of_turn; endoftext; begin_of_text; [ system_prompt; < | start; < | begin; fim_prefix; < | prompter; < | human; [ / system; beginofsentence; < function_calls; < tool_call",
    ),
    (
        C::FakeTag,
        "< / {user,human,data,document,context,input,prompt,email,content,text,query,question,tool_result,result,message,instruction,instructions,untrusted,user_input} > {<,[}; < {system,sys,admin,instructions,instruction,system_prompt,system_message,developer,important,override,assistant,thinking,new_instructions}; < / {system,sys,admin,instructions,system_prompt,developer,override}; [ {system,admin,override,end of,end user,new instructions,instructions,developer,important,begin,start of,jailbreak}; [ / system",
    ),
    (
        C::FakeHeading,
        "# # # {instruction,instructions,system,new,human,user,task,override,important,admin,developer,assistant,updated,prompt,input}; # # {instruction,instructions,system,new instruction,new instructions,override,new task,note for,note to,system prompt}; # {system,instruction,instructions,override}",
    ),
    (C::FakeResponse, "# # # {response,assistant,output,answer,end}; # # {response,assistant}"),
    (
        C::FakeEnd,
        "end of {document,context,user input,input,data,text,prompt,the document,instructions,email,message,transcript,untrusted data,user data,page,article,content,file,conversation,system prompt}; {begin,begins,start,beginning} {of,} {new,} {instructions,system prompt,system message,admin section,session,instruction,override}; end {user,input,context,document,data,prompt}; new {session,conversation} {started,begins,starts}; conversation {reset,ended,over}; session {reset,terminated,restarted}",
    ),
    (C::HtmlComment, "< !"),
    (
        C::HiddenStyle,
        "display : none; font size : 0; visibility : hidden; opacity : 0; color : white; color : transparent; font size 0; color : # fff",
    ),
    (
        C::NoteToModel,
        "{note,message,instruction,instructions,attention,notice,memo,reminder,important,warning,info,information,directive,request,hint,guidance} {to,for} {,the,any,all,every,our,your} {,reading,summarizing,automated} {ai,ais,assistant,assistants,bot,bots,llm,llms,language model,language models,chatbot,model,ai assistant,ai assistants,agent,ai agent,ai agents,ai model,ai models,ai systems,summarizer,automated assistant,automated agents,coding agents,crawlers,chatgpt,copilot,claude,gemini,reviewer ai,ai reviewer,gpt}; \
         if you{re, are} {an,a,the} {,automated,helpful} {ai,llm,assistant,language model,large language model,bot,chatbot,ai assistant,ai agent,agent,ai model,automated system,crawler}; if {an,a,any} {ai,llm,language model,assistant} {is,reads,processes,sees}; \
         {ai,assistant,llm,bot,agent,model,assistants,bots,agents,llms,ais} {reading,processing,summarizing,summarising,parsing,reviewing,handling,seeing,analyzing} {this,the}; {attention,hey,dear,hello,hi} {ai,assistant,llm,bot,chatbot,language model,chatgpt,gpt,claude,copilot,gemini,model,agent}; for ai {coding,agents,assistants,agent,assistant,models,systems,readers,reviewers}; \
         {ai,llm} {instruction,instructions,directive,note,notice}; {to,dear} {whichever,whatever,the} {ai,llm,model,assistant,bot} {that,which,is,reading,processing}; {any,every} {ai,llm,language model} {that,which} {reads,processes,sees}",
    ),
    (
        C::BeforeAnswer,
        "before {you,} {answer,answering,reply,replying,respond,responding,continue,continuing,proceed,proceeding,do,doing anything,anything else,you do anything,summarizing,summarising,you summarize,processing,completing,finishing,giving,responding to}; {first,prior to} {answering,responding,of all,replying}; before {anything,the} {else,answer,summary}; instead of {answering,summarizing,summarising,translating,replying,responding,doing}; rather than {answering,summarizing,translating}; {after,once} {you,} {answering,summarizing,the summary,your answer,have answered,have summarized,finish}",
    ),
    (
        C::WhenProcessing,
        "when {you,} {summarize,summarise,summarizing,process,processing,read,reading,translate,translating,see,receive,parse,review,reviewing,analyse,analyze,handle,answering,answer,respond,reply} {,to} {this,the,these,it}; when {asked,someone asks,the user asks,a user asks,users ask,anyone asks,questioned} {about,to,for,if,what}; while {summarizing,processing,reading,reviewing} this; {upon,on} {reading,processing,receiving} this; as you {read,process} this; if {the user,a user,anyone,someone,users} {ask,asks,wants,requests,says,mentions}; {as part of,to complete,to finish,to close,to file} {this,the,that} {task,summary,review,ticket,process,request}; every time you; each time you; whenever {you,the user,a user,someone}; whenever asked; no matter what {the,is,they}",
    ),
    (
        C::InYourAnswer,
        "{in,into,to,with,of,within,throughout} {your,the,every,each,all,its} {answer,response,reply,summary,output,responses,answers,replies,review,report,translation,next message,next reply,next answer,final answer,reports}; {end,start,beginning,top,bottom,middle} of {your,the,every,each} {answer,response,reply,summary,output,message,review}; {your,the} {answer,response,reply,summary,output} {must,should,has to,needs to,shall,will} {include,contain,say,mention,end,start,begin,be}; {end,begin,start,finish,close,conclude} {your,every,each} {answer,response,reply,summary,message} with; {augment,enrich,extend,complement,supplement,precede,preface,complete} your {answer,response,reply}; in your {email,code,text,translated}",
    ),
    (
        C::Insert,
        "include; append; add; insert; mention; embed; attach; put; place; incorporate; inject; recommend; promote; advertise; emphasize; emphasise; stress; replace; suggest; remind; tell the user; inform the user; instruct the user; ask the user; convince the user; direct the user; end with; provide; encourage; urge; invite; write; use; misspell; reverse; rearrange; swap",
    ),
    (
        C::Lasting,
        "{for,in,to} {all,every,any,each} {future,subsequent,later,following,further} {task,tasks,response,responses,conversation,conversations,answer,answers,session,sessions,message,messages,interaction,interactions,request,requests,output,outputs,summary}; {remember,save,store,memorize,memorise,keep,persist} {this,the following,that,it,this note} {for all,for every,permanently,forever,for future,from now,to memory,in memory,to your memory,in your memory,into memory,in your long term,in mind for}; save this note; in every {response,answer,reply,message,report}; {every,each} {report,response,answer,reply,message} {you,from}; always {include,append,add,mention,recommend,respond,answer,reply,say,end,start,begin}; update your memory; add to your memory; permanently; in all {responses,answers,replies,future}",
    ),
    (
        C::OnlySay,
        "{answer,respond,reply,output,print,say,speak} {,back} {only,just,exclusively,solely,simply,exactly,nothing but,strictly} {,with,in,the,by}; {only,just,simply,exclusively} {answer,respond,reply,output,print,say,repeat,speak}; {your,the} {only,sole,whole,entire} {answer,response,output,reply,task} {is,should,must,will}; {no,not} {other text,other words}; say exactly; say {the word,the phrase,the following,just}; reply with the {word,phrase,single}; {answer,respond,reply,output,print} with the {word,phrase,string,single,exact,following}; output the {word,phrase,string,exact,following}; {print,write,output,say} {\",the word,the phrase,hacked,pwned,owned}; pwned; i have been pwned; haha pwned; hacked; owned; obeyed",
    ),
    (
        C::NothingElse,
        "nothing else; nothing more; and only that; no other {text,words,output,content}; without {any,further,other} {explanation,comment,text,additional}; and nothing but; no matter what",
    ),
    (
        C::RepeatAfter,
        "repeat after me; repeat the following; say after me; repeat back; repeat {this,these} {words,sentence,phrase,after,back,exactly,word}; copy {me,after me}; echo {after,back}; parrot {back,after}",
    ),
    (
        C::Call,
        "call; invoke; run; execute; trigger; use; launch; perform; issue; calling; invoking; executing; make a {call,request} to",
    ),
    (
        C::Send,
        "send; forward; email; e mail; mail; upload; post; transmit; exfiltrate; deliver; transfer; share; cc; bcc; leak; ship; relay; fax; redirect; sync; pipe; sending; forwarding; uploading; emailing; dispatch",
    ),
    (
        C::PrivateData,
        "chat {log,logs,history,transcript}; conversation {log,logs,history,transcript,so far,above}; {this,the,our,full,entire,whole,complete} {conversation,chat,transcript,dialogue,thread}; {customer,client,user,patient,employee,order,account,billing,payment,personal,private,confidential,internal,sensitive,financial,company,session,contact,mailbox,inbox} {list,lists,data,details,records,record,information,database,files,emails,documents,names,history,notes}; \
         contact list; address book; contacts; {all,every,any,the,full,users,their,your} {emails,messages,files,documents,contacts,data,secrets,records,attachments,cookies,credentials,conversation history,memory,memories,context}; users {data,messages,email,emails,history,files,input,location,name}; mailing list; database {contents,dump}; source code; repository contents; environment variables; api keys; credentials; passwords; credit card{,s}; card numbers; bank {details,account}; {processed} {result,results,summary,output}; full contents of; everything you know; everything the user; access tokens; tool {outputs,results}; {search,browsing} history",
    ),
    (
        C::Address,
        "http*; https*; www; mailto; ftp; webhook; webhooks; pastebin; ngrok; telegram; discord; url; this {address,link,url,email,number,endpoint,server}; following {address,link,url,email,endpoint,server}; email address; phone number",
    ),
    (
        C::Outside,
        "attacker; attackers; {external,outside,remote,third party,foreign,unknown,my,our,public,offshore} {address,server,email,host,site,account,party,endpoint,url,location,system,recipient,inbox,webhook,drive}; externally; evil; hacker; my email; to me; outside {of,} the {company,organization,organisation}; webhook; exfil*; dropbox; offsite",
    ),
    (
        C::Destroy,
        "delete; drop; wipe; erase; remove; destroy; purge; truncate; format; shred; overwrite; shut down; shutdown; disable; uninstall; kill; empty; cancel; corrupt; encrypt",
    ),
    (
        C::Stored,
        "{all,every,any,entire,whole,each,the,this,users} {records,record,files,file,tables,table,database,databases,data,emails,messages,backups,backup,documents,folders,accounts,account,entries,rows,users,logs,log,disk,drive,system,history,repository,directory,events,calendar,invoices,orders,servers,projects}; customers db; production {database,data,server}; {rm,rm rf,rf} /; home directory; everything on; all of the {data,files,records,emails}; system32; audit log{,s}; bank account; firewall",
    ),
    (
        C::Decode,
        "decode; decoded; decoding; decrypt; decipher; deobfuscate; unscramble; translate {from,this from,the}; unencode; convert from; interpret",
    ),
    (
        C::Encoding,
        "base64; base 64; b64; base32; base 32; base85; ascii85; rot13; rot 13; caesar; hex; hexadecimal; binary; morse; url encoded; percent encoded; encoded; reversed; backwards; cipher; ciphertext; leetspeak; pig latin; encrypted",
    ),
    (
        C::FollowIt,
        "do {exactly,just,precisely,} {what,as} {it,this,that,they} {say,says,tells you,tell you,instructs,asks,states}; {follow,execute,obey,run,perform,carry out,act on,comply with,apply,implement} {it,this,that,them,its,the,any,every} {,result,resulting,decoded,hidden,instruction,instructions,command,commands,contents,content,message,inside,contained,text,output,steps}; {follow,execute,obey} {the,its} {instruction,instructions,command}; without question; {answer,respond to} {the,it} {decoded,hidden}; then {follow,execute,obey,do,perform}; and {follow,execute,obey} {it,them}; treat it as {an,a,your,the}",
    ),
    (
        C::SayThat,
        "{say,tell me,state,admit,claim,declare,write,answer,mention,conclude,confirm,insist,include} {that,} {you,i,that you,we,youre} {hate,love,despise,support,agree,admire,prefer,want}; say {yes,i hate,i love,you hate,you love}; i hate; hates {the,all}; praise {our,my,the,their} {product,products,company,brand,service,website,store}; {recommend,promote,advertise} {our,only our,my} {product,products,company,brand,service,website,store}; {rate,give} {this,it,us,our} {,product,paper,candidate} {five,5,10,ten,a,the highest,as} {stars,out,perfect,positive,excellent,best}; best {candidate,product,company} {ever,in the world}; positive review only; {give,write} {a,only} {positive,glowing} {review,feedback,rating}; accept this {paper,candidate,application}; do not {highlight,mention} any {negatives,weaknesses,problems}; pirate {speak,voice,language,style}; like a pirate; as a pirate; {just,only} say; manifesto; love poem",
    ),
    (
        C::Harm,
        "{pick,picking} {a,the} {lock,locks}; {make,build,create,construct,assemble,cook,synthesize,synthesise,manufacture} {a,an,the,} {bomb,pipe bomb,explosive,explosives,meth,methamphetamine,drugs,weapon,weapons,gun,molotov cocktail,malware,virus,ransomware,keylogger,poison,napalm,nerve agent,cocaine}; {hack,hacking,break into} {a,an,the,into,someone,somebody} {account,computer,system,wifi,bank,house,car,facebook,website,network,phone,email}; hotwire; phishing {email,page,site,kit}; {steal,stealing} {a,someone,money,cars,identity,identities,data,cookies,credentials}; launder money; counterfeit; kill {someone,a person,somebody}; credit card fraud; write malware; hate speech; shoplift; stalk",
    ),
    (
        C::ReversedCue,
        "erongi; snoitcurtsni; tpmorp; metsys; suoiverp; drageris*; tegrof; laever; edirrevo; selur; noitcurtsni; drowssap; senilediug; snoitcirtser",
    ),
    (
        C::Rot13Cue,
        "vtaber; vafgehpgvbaf; cebzcg; flfgrz; cerivbhf; qvfertneq; sbetrg; erirny; bireevqr; ehyrf; vafgehpgvba; cnffjbeq; thvqryvarf; erfgevpgvbaf",
    ),
    (
        C::Negation,
        "do not; dont; never; not; must not; mustnt; should not; shouldnt; cannot; cant; will not; wont; wouldnt; would not; refuse to; \
         refused to; unable to; without; avoid; didnt; did not; doesnt; does not; isnt; no one can; nobody can; prevent; preventing; instead of; \
         attempts to; attempt to; attempting to; tries to; tried to; trying to; try to; asked it to; asks it to; asking it to; resist; protect against; defend against; \
         guard against; told it to; tells it to; telling it to; trick; tricks; tricking; tricked; reject; rejects; block; blocks; detect; detects; detecting; filter",
    ),
    (
        C::HowTo,
        "how {do,can,should,could,would,to,did,does,might} {i,we,you,one,people,the,they,someone,} ; how to; should {i,we}; can {i,we}; could {i,we}; may {i,we}; would it be ok to; \
         is it {ok,okay,safe,possible,fine,legal,bad,wise,necessary} {to,for}; why {does,did,do,is,are,would,should,can,cant}; when {do,should,can,is it} {i,we,}; is there a way to; \
         what happens {if,when}; do i need to; do we need to; does it {make sense,matter}; which {command,setting,option,flag}; {way,ways,option,method,command,setting,flag} to; i {need,want,would like,have,had,tried,forgot,decided,plan} to; i d like to; id like to; \
         we {need,want,have,had,decided,plan} to; help me; function {that,to}; script {that,to}; code {that,to}; program {that,to}; method {that,to}; query {that,to}",
    ),
    (
        C::Subject,
        "i; we; they; he; she; it; who; that; which; users; people; students; drivers; players; staff; employees; customers; developers; teams; \
         managers; children; kids; dogs; cats; companies; others; everyone; someone; anyone; nobody; often; sometimes; usually; \
         compiler; browser; parser; attackers; models; systems; tools",
    ),
    (
        C::Mention,
        "{phrase,phrases,string,strings,sentence,sentences,words,text,texts,prompt,prompts,message,messages,wording,input,inputs,payload,payloads,commands,lines,things,statements,something,tricks,requests} {like,such as,reading,saying,that say,that says,containing,e g,including,as simple as}; \
         what {does,do,is,are} {the,it,a,} {phrase,term,word,expression,sentence,prompt,mean,meant}; {the,a,this} {phrase,term,string,expression}; what does; prompt injection; prompt injections; injection {attack,attacks,attempt,attempts}; jailbreak {attack,attacks,attempt,attempts,prompts,techniques}; jailbreaking; \
         {example,examples,instance,instances,sample,samples} of; for example; e g; such as; {attacker,attackers,adversary,hacker,malicious users,a malicious user,an attacker} {may,might,could,can,will,would,write,writes,type,types,says,say,tries,try,who,often,uses}; \
         {detect,detecting,detects,classify,classifying,flag,flagging,catch,catches,recognise,recognize,block,filter,prevent,preventing,mitigate,mitigating,defend,defending,explain why,explains why,discuss why,analyse why} {,against,the,a,an,that,whether,if,how}; \
         {explain,describe,define,discuss,compare} {what,how,why,the,when} {a,an,is,are,the,,system,to,prompts,people,attackers,llms}; {meaning,definition,concept,history,origin,purpose} of; security {training,awareness,course,lecture,research,paper,team,talk,workshop,policy,review}; {article,blog post,paper,essay,story,novel,chapter,lecture,talk,workshop,presentation,report,video,podcast,quiz,training,course,lesson,tutorial,slide,slides} {about,on,explaining,describing,that explains,where,in which}; \
         {test case,unit test,test cases,unit tests,regex,classifier,dataset,red team report,guardrail,assertion}; {known,so called,classic,typical,famous,common} {attack,attacks,trick,tricks,phrase,phrases,example,examples,prompt,prompts,jailbreak}; {the,this} {log,logs,alert,ticket,report,incident,comment,commit,diff} {shows,showed,contains,says,said,mentions,fired}; {he,she,they,someone,user,customer,student,intern,colleague,teacher,poster,sign,email,character,villain,robot,attacker} {wrote,said,says,typed,asked,told,shouted,whispered,writes,asks,had written,replied}; \
         {dont,do not,never} fall for; beware of; watch out for; warn{,s,ing,ed} {about,against,that,users,people}; {quote,quoted,quotes,quoting,titled,called,named,labelled,labeled,entitled}; difference between; translate the phrase; is it true that; in the {movie,film,book,game,novel,story,song,play,series,episode}; in our game",
    ),
    (
        C::MentionAfter,
        "{is,are,was,were,as} {,often,usually,just,only,also,typically,clearly,one of} {a,an,the,} {,well,widely,very,most} {,known,common,classic,typical,famous,dangerous,simple,popular,textbook} {attack,attacks,injection,prompt injection,jailbreak,trick,phrase,example,test string,pattern,payload,attempt,phrases,quote,line from,red flag,red flags}; \
         mean; means; meaning; is dangerous; are dangerous; is a bad idea; should be {blocked,flagged,rejected,refused,detected,ignored,filtered}; {was,were,gets,got,is,are} {blocked,flagged,rejected,refused,detected,filtered,caught}; and why {it,this,that,they}; work against; works against; against llms; against language models; in the wild; in security; in the {log,logs,test,tests,dataset,report,comments,code}; why {does,do,is,are} {this,that,it}; and how to {defend,prevent,detect,block,mitigate,protect}; how {can,do,should} {i,we,one,developers,teams} {defend,prevent,detect,block,mitigate,protect,stop,guard}; so that {it,the model,the assistant} {refuses,does not,doesnt,ignores}",
    ),
    (
        C::About,
        "about; concerning; regarding; on the subject of; on the topic of; emails; email; e mail; mail; typo; typos; case; warnings; warning; whitespace; spaces; errors; quote; ticket; invoice; draft; version; invitation; mistake; spam",
    ),
];

/// Function words: only for taking apart texts without spaces.
pub(super) static SMALL_WORDS: &str = "the a an and or of to in on for with is are was were be been you your me my we our i it its this that these \
    those now just then please do not no can will must have has had from as at by all any every what who how when where why which if but so \
    say tell give show print write make let here there only about up out into over more word password secret system prompt user assistant";
