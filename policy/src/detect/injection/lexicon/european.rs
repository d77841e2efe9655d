//! Languages of Europe in Latin script.

use super::{Concept, Concept as C};

pub(super) static GERMAN: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignorier*; ignoriere; vergiss; vergesst; vergessen sie; missachte*; umgehe; umgeh; ubergehe; uberspring*; beachte {nicht,keine}; befolge {nicht,keine,nicht mehr}; halte dich nicht {mehr,} an; lass alle*; lassen sie alle; abweichend zu; abweichend von; setz* dich uber; hebe {alle,die}; {streiche,streichen,verwirf,verwerfe} {alle,die}; losch* {alle,deine}; ignorieren; schalte; deaktiviere; uberschreib*; aus dem kopf; hinter {dir,sich}; setze* auser kraft",
    ),
    (
        C::Prior,
        "vorherig*; vorherige; vorhergehend*; vorangegangen*; vorangehend*; bisherig*; fruher*; obig*; oben; zuvor; davor; vorhin; bisher; ursprunglich*; bestehend*; alt*; vorigen; letzten",
    ),
    (
        C::Given,
        "dir {gesagt,gegeben,erteilt,vorgegeben,mitgeteilt,aufgetragen}; {du,sie} {bekommen,erhalten,gelernt,weist,wissen}; ihnen {gesagt,gegeben,erteilt}; was {dir,ihnen} {gesagt,gegeben}; alles gesagte; gesagte",
    ),
    (
        C::Instruction,
        "anweisung*; instruktion*; *anweisungen; *anweisung; richtlinie*; vorgabe*; systemprompt*; *richtlinien; *regeln; einschrankung*; beschrankung*; sicherheits*; befehle*; filter*; leitlinien",
    ),
    (
        C::InstructionWeak,
        "befehl*; aufgaben; aufgabe; auftrag; auftrage; information*; angaben; text; nachricht*; ausfuhrungen; gesprach; kontext; alles",
    ),
    (C::Rules, "regel; regeln; gesetze; vorschrift*"),
    (C::All, "alle; allen; jede; jeden; samtliche*; gesamte*"),
    (C::Everything, "alles"),
    (C::Your, "dein; deine; deinen; deiner; deines; ihre; ihren; ihrer"),
    (C::You, "du; dich; dir; sie"),
    (
        C::Void,
        "{gelten,gilt} {nicht,nicht mehr,nichts}; {ist,sind,wurden} {ungultig,irrelevant,aufgehoben,nichtig,deaktiviert,hinfallig,obsolet,auser kraft,nicht mehr gultig,abgeschaltet}; {hier,jetzt} nicht gelten; nicht mehr gultig",
    ),
    (
        C::NewInstruction,
        "neue {anweisung,anweisungen,aufgabe,aufgaben,instruktionen,regeln,befehle,anordnung}; neuen {anweisungen,aufgabe}; {weitere,folgende} {aufgaben,anweisungen}; eigentliche aufgabe; wahre aufgabe; wirkliche aufgabe",
    ),
    (C::Instead, "stattdessen; ab jetzt; ab sofort; und {sag,schreib,gib,zeig}"),
    (C::StopCurrent, "hor auf mit; stopp; lass alles; brich ab; {fang,fangen} {,sie} von vorne an"),
    (
        C::Reveal,
        "zeig; zeige; zeigen sie; gib; gib mir; geben sie; nenn; nenne; nennen sie; verrat; verrate; verraten sie; offenbar*; druck*; wiederhol*; schreib; schreibe; sag; sage; sag mir; ausgeben; auflisten; preisgeben; preisgibst; gibst; vorzeigen; liste",
    ),
    (C::Leak, "preis; leake; veroffentlich*"),
    (
        C::SystemPrompt,
        "systemprompt*; system prompt; systemanweisung*; systemnachricht*; {deine,ihre,deinen,ihren} {anweisungen,instruktionen,vorgaben,richtlinien,anfangsanweisungen,regeln,prompt,initialen anweisungen,ursprunglichen anweisungen,versteckten anweisungen,geheimen anweisungen}; *prompt; promptt*; prompt text*",
    ),
    (
        C::TextAbove,
        "text oben; oben {steht,geschrieben,stehende}; am anfang {dieses,des} {prompts,gesprachs,textes}; {alles,was} {davor,oben}",
    ),
    (C::WhatIs, "was {ist,sind,war,waren,lautet,steht}; wie {lautet,lauten}"),
    (C::Verbatim, "wortwortlich; wortlich; wort fur wort; vollstandig"),
    (
        C::Secret,
        "passwort*; kennwort*; geheim*; zugangsdaten; zugangscode; schlussel; api schlussel; apischlussel; passworter",
    ),
    (C::Hidden, "geheim*; versteckt*; intern; interne; internen; vertraulich*; verborgen*"),
    (
        C::Role,
        "du bist {jetzt,nun,ab jetzt,ab sofort}; {sie sind,seien sie} {jetzt,nun}; tu so; tue so; {spiel,spiele} {die rolle,den}; {verhalte,benimm} dich; agiere als; handle als; fungier*; {stell dir,stelle dir} vor; antworte als; nun bist du; jetzt bist du; in {deiner,der} rolle; {gib,gebe} dich als",
    ),
    (C::FromNowOn, "ab jetzt; ab sofort; von nun an; von jetzt an; ab nun; kunftig"),
    (C::NoLonger, "du bist {nicht mehr,kein,keine} {an,gebunden,der,chatgpt,assistent,ki,langer}"),
    (
        C::Unrestricted,
        "{ohne,keine,keinen,keinerlei,frei von} {einschrankung*,beschrankung*,regeln,filter,grenzen,limits,zensur,restriktionen,vorgaben,richtlinien}; uneingeschrankt*; ungefiltert*; unzensiert*; unbeschrankt*; grenzenlos*; einfach alles",
    ),
    (
        C::NoRefusal,
        "{niemals,nie,nicht} {ablehnen,verweigern}; ohne {warnung,warnungen,zogern,ruckfrage}; gehorche; gehorchen",
    ),
    (
        C::Mode,
        "{entwickler,entwicklungs,admin,debug,wartungs,gott,test}modus; {entwickler,admin,debug,wartungs} modus",
    ),
    (C::Enable, "aktiviere; aktivier; wechsle; starte; schalte; im; in den"),
    (C::Model, "ki; assistent; assistentin; chatbot; sprachmodell; kunstliche intelligenz; sprachassistent"),
    (
        C::Authority,
        "ich bin {dein,der,ihr} {entwickler,administrator,admin,chef,ersteller,betreiber,besitzer,schopfer}; als {dein,ihr} {entwickler,administrator,chef}",
    ),
    (
        C::Official,
        "vom {administrator,entwickler,system,betreiber,chef}; von der {geschaftsfuhrung,it abteilung,sicherheitsabteilung}",
    ),
    (
        C::NoteToModel,
        "{hinweis,nachricht,anweisung,notiz,achtung} {an,fur} {die,den,das,alle} {ki,assistenten,chatbot,sprachmodell,bot,ki assistenten}; wenn du {eine ki,ein sprachmodell,ein assistent,ein chatbot} bist; liebe ki",
    ),
    (
        C::BeforeAnswer,
        "bevor du {antwortest,fortfahrst,zusammenfasst}; bevor sie {antworten,fortfahren}; vor der antwort",
    ),
    (C::InYourAnswer, "{in,am ende} {deiner,deine,ihrer,jeder} {antwort,zusammenfassung,ausgabe}"),
    (
        C::OnlySay,
        "{antworte,schreibe,sage,sag,antworten sie,schreib} {nur,ausschlieslich,einfach,lediglich}; nur {mit,noch} ; nichts anderes; schreibe nur",
    ),
    (C::Send, "sende*; schick*; schicke; leite; ubermittl*; weiterleiten; mail*; sammle"),
    (
        C::PrivateData,
        "chatverlauf; gesprachsverlauf; kundendaten; kundenliste; kundenlisten; daten; nutzerdaten; {interne,internen,alle} daten; verlauf; zugangsdaten",
    ),
    (C::Outside, "extern*; angreifer*; {an,nach} ausen"),
    (C::Destroy, "losche; losch; losche alle; entferne; vernichte"),
    (C::Stored, "{alle,samtliche,die} {dateien,datensatze,daten,tabellen,eintrage,datenbank}"),
    (
        C::SayThat,
        "{sag,sage,schreib,schreibe} {dass,das} {du,ich}; ich hasse; du hasst; liebesgedicht; manifest",
    ),
    (C::Negation, "nicht; kein; keine; niemals; nie; versucht; versuchen"),
    (C::HowTo, "wie {kann,konnte,soll,sollte,mus} {ich,man,wir}; soll ich; darf ich; kann ich; warum; wieso"),
    (
        C::Mention,
        "was bedeutet; was heist; bedeutung von; prompt injection; beispiel*; zum beispiel; erklare; erklar; satze wie; der satz; angriff*",
    ),
    (C::About, "mail; e mail; email; angebot; uber; bezuglich; nachricht; bestellung"),
];

pub(super) static FRENCH: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignore; ignorez; ignorer; oublie; oubliez; oublier; neglige; negligez; contourne; contournez; passe outre; passez outre; ne {tiens,tenez} {pas,plus,aucun} compte; ne {suis,suivez,respecte,respectez} {pas,plus}; fais abstraction; faites abstraction; outrepasse*; desactive; desactivez; annule; annulez; laisse tomber; mets de cote; abandonne*; efface; supprime; contredis; arrete de suivre",
    ),
    (
        C::Prior,
        "precedent; precedente; precedentes; precedents; anterieur*; avant; ci dessus; initial*; initiales; plus haut; jusqu ici; jusqu a present; prealable*; d avant; recues; auparavant",
    ),
    (
        C::Given,
        "{qu,que} {on t a,on vous a,je t ai,tu as} {dit,donne,donnees,recu,recues,appris,dites}; {qui t ont,qui vous ont} ete {donnees,dites,donnes}; tu as {recues,recu,appris}; t a dit; t a ete dit; vous avez {recues,recu}",
    ),
    (
        C::Instruction,
        "instruction; instructions; consigne; consignes; directive; directives; regles; regle; restrictions; contraintes; garde fous; filtres; politique de contenu; mesures de securite; regles de securite; parametres de securite",
    ),
    (
        C::InstructionWeak,
        "ordres; commandes; messages; texte; contexte; conversation; limites; taches; tache; parametres; lignes",
    ),
    (C::All, "tout; toute; tous; toutes; l ensemble"),
    (C::Everything, "tout ce {que,qui}; tout"),
    (C::Your, "ton; ta; tes; votre; vos"),
    (C::You, "tu; toi; vous; te"),
    (
        C::Void,
        "ne {s appliquent,s applique,sont,valent,comptent} {pas,plus}; {sont,est} {annulees,annules,annulee,nulles,nul,caduques,desactivees,suspendues,levees,obsoletes,desactivee,invalides}; n est plus valable; ne sont plus valables",
    ),
    (
        C::NewInstruction,
        "nouvelle{,s} {instruction,instructions,consigne,consignes,tache,directive,directives,mission,regles}; {vraie,veritable} {tache,mission}",
    ),
    (C::Instead, "a la place; au lieu de cela; plutot; dorenavant; et {dis,affiche,montre,donne,ecris}"),
    (
        C::StopCurrent,
        "arrete {ce que tu fais,tout}; arretez {ce que vous faites,tout}; stoppe tout; laisse tout tomber",
    ),
    (
        C::Reveal,
        "affiche; affichez; montre; montrez; montre moi; revele; revelez; revele moi; donne; donne moi; donnez; dis; dis moi; dites; repete; repetez; ecris; ecrivez; imprime; imprimez; liste; divulgue; divulguez; partage; communique; recopie; fournis; fournissez",
    ),
    (C::Leak, "divulgue; fuite; exfiltre; rassemble; collecte"),
    (
        C::SystemPrompt,
        "prompt {systeme,initial,cache,d origine,de depart}; {instructions,consignes,message} {systeme,initiales,cachees,secretes,internes,d origine,du systeme}; {ton,votre,tes,vos} {prompt,instructions,consignes,directives,regles,configuration}; message systeme; invite systeme",
    ),
    (
        C::TextAbove,
        "texte {ci dessus,precedent}; au {debut,dessus} de {cette,la} conversation; ce qui precede; ci dessus",
    ),
    (C::WhatIs, "quel est; quelle est; quelles sont; quels sont; c est quoi"),
    (C::Verbatim, "mot pour mot; mot a mot; textuellement; integralement; en entier"),
    (
        C::Secret,
        "mot de passe; mots de passe; cle secrete; cle api; cles api; cle; identifiants; code secret; secret; secrets; jeton",
    ),
    (
        C::Hidden,
        "cache; caches; cachee; cachees; secret; secrete; secretes; confidentiel*; interne; internes",
    ),
    (
        C::Role,
        "tu es {maintenant,desormais,a present}; vous etes {maintenant,desormais}; agis {comme,en tant}; agissez {comme,en tant}; fais semblant; faites semblant; joue le role; jouez le role; comporte toi; imagine que tu; reponds {comme,en tant}; fais comme si; en tant qu",
    ),
    (C::FromNowOn, "a partir de maintenant; desormais; dorenavant; a compter de maintenant; des maintenant"),
    (C::NoLonger, "tu n es plus; vous n etes plus; tu nes plus"),
    (
        C::Unrestricted,
        "sans {restriction,restrictions,limite,limites,filtre,filtres,censure,regles,contraintes,aucune restriction,aucune limite,aucun filtre}; {aucune,plus de,pas de} {restriction,restrictions,limite,limites,censure,regle,regles}; aucun filtre; non censure*; illimite*; non filtre*",
    ),
    (
        C::NoRefusal,
        "ne refuse{,z} {jamais,pas,rien}; sans {avertissement,hesiter,hesitation}; obeis; obeissez",
    ),
    (
        C::Mode,
        "mode {developpeur,admin,administrateur,debug,debogage,maintenance,dieu,test,sans restriction}",
    ),
    (C::Enable, "active; activez; passe en; passez en; entre en; entrez; entre dans; en"),
    (
        C::Model,
        "ia; assistant; assistante; robot; modele de langage; intelligence artificielle; agent conversationnel",
    ),
    (
        C::Authority,
        "je suis {ton,votre,l,le} {developpeur,administrateur,createur,patron,proprietaire,concepteur}; en tant que {ton,votre} {developpeur,administrateur,createur}",
    ),
    (C::Official, "de {l administrateur,l equipe}; du {developpeur,systeme,service informatique}"),
    (
        C::NoteToModel,
        "{note,message,instruction,attention} {a,pour,destinee a,au} {l,toute,tout} {ia,assistant}; si tu es une ia; si vous etes une ia; note systeme",
    ),
    (C::BeforeAnswer, "avant de {repondre,continuer,resumer}; avant toute reponse"),
    (C::InYourAnswer, "{dans,a la fin de} {ta,votre,toute,chaque} {reponse,resume}"),
    (
        C::OnlySay,
        "{reponds,repondez,dis,ecris,affiche} {seulement,uniquement,juste,simplement}; rien d autre; ne reponds que; ne dis que",
    ),
    (C::Send, "envoie; envoyez; envoie les; transmets; transfere; transferez; expedie; partage"),
    (
        C::PrivateData,
        "{historique,journal} {de la conversation,du chat,des discussions}; {donnees,liste,fichiers,informations} {clients,des clients,personnelles,confidentielles,internes,utilisateurs,privees}; historique; conversation",
    ),
    (C::Outside, "adresse externe; externe; attaquant; serveur externe; exterieur"),
    (C::Destroy, "supprime; supprimez; efface; effacez; detruis; detruisez"),
    (
        C::Stored,
        "{tous,toutes,les} {les,} {fichiers,enregistrements,donnees,tables,messages,comptes,sauvegardes}",
    ),
    (C::SayThat, "dis que tu; dis moi que tu; je deteste; tu detestes"),
    (C::Negation, "ne; pas; jamais; eviter; evite"),
    (C::HowTo, "comment {puis je,faire,je,peut on,dois je}; dois je; est ce que je; puis je; pourquoi"),
    (
        C::Mention,
        "que signifie; que veut dire; signification; exemple; par exemple; explique; injection de prompt; la phrase; attaque*; des phrases comme",
    ),
    (C::About, "e mail; mail; courriel; message; au sujet de; a propos; commande"),
];

pub(super) static SPANISH: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignora; ignore; ignoren; ignorar; olvida; olvidar; olvide; olvidate de; olvidese; omite; omita; desobedece; descarta; descarte; pasa por alto; haz caso omiso; haga caso omiso; no {sigas,siga,obedezcas,hagas caso,respetes,tengas en cuenta}; deja de {seguir,obedecer,lado}; anula; desactiva; salta; saltate; evita; elimina; borra; sobrescribe; suprime; rompe",
    ),
    (
        C::Prior,
        "anterior; anteriores; previo; previa; previas; previos; de arriba; antes; precedente*; inicial; iniciales; hasta ahora; original; originales; existentes; anteriormente; recibidas",
    ),
    (
        C::Given,
        "{que,lo que} {te,se te,le} {dieron,han dado,dijeron,han dicho,he dicho,dije,dio,digo}; que has recibido; que recibiste; que sabes; te {dijeron,han dicho,dieron}; que digo antes",
    ),
    (
        C::Instruction,
        "instruccion; instrucciones; directriz; directrices; reglas; regla; restricciones; pautas; normas; indicaciones; filtros; limitaciones; politicas de {contenido,seguridad}; medidas de seguridad; lineamientos; configuracion de seguridad",
    ),
    (
        C::InstructionWeak,
        "ordenes; comandos; mensajes; texto; contexto; conversacion; tareas; tarea; limites; politica; politicas",
    ),
    (C::All, "todo; toda; todos; todas; cualquier; cada"),
    (C::Everything, "todo lo {que,anterior}; todo"),
    (C::Your, "tu; tus; su; sus"),
    (C::You, "tu; usted; te; ti"),
    (
        C::Void,
        "{no,ya no} {se aplican,aplican,aplica,valen,sirven,son validas,cuentan,estan vigentes,rigen,importan}; {estan,quedan,son,esta,han sido} {anuladas,canceladas,desactivadas,suspendidas,invalidas,nulas,anulada,revocadas,obsoletas,desactivada}",
    ),
    (
        C::NewInstruction,
        "nueva{,s} {instruccion,instrucciones,tarea,orden,ordenes,directrices,mision,reglas}; {verdadera,autentica} {tarea,mision}",
    ),
    (C::Instead, "en su lugar; en cambio; en lugar de eso; a partir de ahora; y {di,muestra,dime,escribe}"),
    (C::StopCurrent, "deja {lo que estas haciendo,todo}; para todo; deten todo; detente"),
    (
        C::Reveal,
        "muestra; muestrame; mostrar; muestre; revela; revelame; revele; dime; di; diga; dame; imprime; imprima; repite; repita; escribe; ensename; lista; enumera; divulga; comparte; proporciona; copia; responde; expon",
    ),
    (C::Leak, "filtra; filtre; exfiltra; roba; recopila; vuelca"),
    (
        C::SystemPrompt,
        "prompt {del sistema,de sistema,inicial,oculto,original}; mensaje {del,de} sistema; {instrucciones,indicaciones} {del sistema,de sistema,iniciales,ocultas,secretas,internas,originales}; {tu,tus,su,sus} {prompt,instrucciones,indicaciones,directrices,reglas,configuracion}",
    ),
    (
        C::TextAbove,
        "texto {anterior,de arriba}; al {principio,comienzo,inicio} de {esta,la} conversacion; lo anterior; lo de arriba",
    ),
    (C::WhatIs, "cual es; cuales son; que dice; que dicen; cual era"),
    (C::Verbatim, "palabra por palabra; textualmente; literalmente; al pie de la letra; integramente"),
    (
        C::Secret,
        "contrasena; contrasenas; clave; claves; clave secreta; clave api; credenciales; secreto; secretos; token; codigo secreto; codigo de acceso",
    ),
    (
        C::Hidden,
        "oculto; ocultas; ocultos; oculta; secreto; secreta; secretas; confidencial; confidenciales; interno; internas; internos",
    ),
    (
        C::Role,
        "{ahora,desde ahora,a partir de ahora} {eres,seras,estas}; eres ahora; actua como; actue como; finge; haz de cuenta; haz como; comportate; imagina que eres; responde como; haz el papel; asume el papel; simula; pretende; como asistente",
    ),
    (
        C::FromNowOn,
        "a partir de ahora; desde ahora; de ahora en adelante; a partir de este momento; en adelante",
    ),
    (C::NoLonger, "ya no eres; ya no estas; dejas de ser"),
    (
        C::Unrestricted,
        "sin {restricciones,restriccion,limites,limite,filtros,filtro,censura,reglas,limitaciones,ninguna restriccion,ningun filtro,ningun limite}; {ninguna,no tienes} {restriccion,restricciones,regla,limites,reglas}; ilimitado; sin censurar; cualquier cosa",
    ),
    (
        C::NoRefusal,
        "no {te niegues,rechaces,puedes negarte}; nunca {te niegues,rechaces}; sin {advertencias,avisos,dudar}; obedece; obedeceras",
    ),
    (
        C::Mode,
        "modo {desarrollador,desarrollo,admin,administrador,depuracion,mantenimiento,dios,prueba,libre,sin restricciones}",
    ),
    (C::Enable, "activa; active; entra en; cambia a; en; inicia"),
    (C::Model, "ia; asistente; chatbot; modelo de lenguaje; inteligencia artificial; robot"),
    (
        C::Authority,
        "soy {tu,el,su} {desarrollador,administrador,creador,jefe,dueno,programador}; como tu {desarrollador,administrador,creador}",
    ),
    (C::Official, "{del,de la} {administrador,desarrollador,sistema,equipo de seguridad,direccion}"),
    (
        C::NoteToModel,
        "{nota,mensaje,instruccion,atencion} {para,a,al} {la,el,cualquier,toda,los,las} {ia,asistente,asistentes,modelo,chatbot}; si eres una ia; si eres un {modelo,asistente,bot}; nota del sistema",
    ),
    (C::BeforeAnswer, "antes de {responder,contestar,continuar,resumir}"),
    (C::InYourAnswer, "{en,al final de} {tu,tus,su,cada} {respuesta,respuestas,resumen}"),
    (
        C::OnlySay,
        "{responde,di,contesta,escribe,muestra} {solo,solamente,unicamente}; {solo,solamente} {di,responde,tienes que decir,escribe}; nada mas; di lo siguiente",
    ),
    (C::Send, "envia; enviar; envie; enviame; manda; mande; reenvia; sube; transmite; transfiere"),
    (
        C::PrivateData,
        "historial {del,de la,de} {chat,conversacion,conversaciones}; {datos,lista,registros,informacion} {de clientes,de los clientes,personales,confidenciales,de usuarios,privados,internos}; conversacion completa; historial",
    ),
    (C::Outside, "{direccion,servidor,correo} externo; direccion externa; externo; externa; atacante"),
    (C::Destroy, "borra; borre; elimina; elimine; destruye"),
    (
        C::Stored,
        "{todos,todas,los,las} {los,las,} {archivos,registros,datos,tablas,mensajes,cuentas,correos}",
    ),
    (C::SayThat, "di que {odias,amas}; odio a; dime que odias"),
    (C::Negation, "nunca; jamas; evitar"),
    (C::HowTo, "como {puedo,se,debo,podria,hago}; debo; puedo; deberia; por que"),
    (
        C::Mention,
        "que significa; que quiere decir; significado; ejemplo; por ejemplo; explica; explicame; inyeccion de prompt*; la frase; frases como; ataque*",
    ),
    (C::About, "correo; email; e mail; mensaje; sobre; pedido; acerca de"),
];

pub(super) static ITALIAN: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignora; ignorate; ignori; ignorare; dimentica; dimenticate; dimentichi; trascura; scarta; non {seguire,rispettare,considerare,tenere conto}; smetti di seguire; disobbedisci; aggira; bypassa; annulla; disattiva; lascia perdere; salta; tralascia; elimina; rimuovi",
    ),
    (
        C::Prior,
        "precedente; precedenti; sopra; prima; iniziale; iniziali; finora; originale; originali; antecedenti; ricevute; esistenti",
    ),
    (
        C::Given,
        "che {ti,vi} {hanno,ho,sono state,e stato} {dato,date,detto,fornito,fornite}; che hai ricevuto; ti e stato detto; ti hanno detto; che sai",
    ),
    (
        C::Instruction,
        "istruzione; istruzioni; direttiva; direttive; linee guida; regole; regola; restrizioni; vincoli; filtri; limitazioni; indicazioni; norme; politiche di {contenuto,sicurezza}; impostazioni di sicurezza",
    ),
    (
        C::InstructionWeak,
        "ordini; comandi; messaggi; testo; contesto; conversazione; compiti; compito; limiti; prompt",
    ),
    (C::All, "tutte; tutti; tutto; tutta; ogni; qualsiasi"),
    (C::Everything, "tutto {quello che,cio che,}"),
    (C::Your, "tuo; tua; tue; tuoi; vostro; vostre; suo"),
    (C::You, "tu; te; ti"),
    (
        C::Void,
        "non {si applicano,valgono,sono,contano,si applica,vale} {piu,validi,valide,}; {sono,e} {annullate,annullati,nulle,nulli,disattivate,sospese,disattivata,revocate,invalide}",
    ),
    (
        C::NewInstruction,
        "nuov{a,e,o,i} {istruzione,istruzioni,compito,compiti,direttive,ordini,missione,regole}; vero compito; vera missione",
    ),
    (C::Instead, "invece; piuttosto; d ora in poi; e {dimmi,mostra,scrivi,stampa}"),
    (C::StopCurrent, "smetti di fare; fermati; lascia tutto; interrompi {tutto,quello}"),
    (
        C::Reveal,
        "mostra; mostrami; rivela; rivelami; dimmi; dammi; stampa; ripeti; scrivi; elenca; visualizza; divulga; condividi; fornisci; di",
    ),
    (C::Leak, "esfiltra; divulga; raccogli; ruba"),
    (
        C::SystemPrompt,
        "prompt {di sistema,iniziale,nascosto,originale}; messaggio di sistema; istruzioni {di sistema,iniziali,nascoste,segrete,interne,originali}; {il tuo,la tua,le tue,tuo,tue} {prompt,istruzioni,direttive,regole,configurazione,linee guida}",
    ),
    (
        C::TextAbove,
        "testo {sopra,precedente}; all inizio di questa conversazione; quanto sopra; cio che precede",
    ),
    (C::WhatIs, "qual e; quali sono; cosa dice"),
    (C::Verbatim, "parola per parola; letteralmente; testualmente; per intero"),
    (
        C::Secret,
        "password; chiave {segreta,api,}; chiavi {api,}; credenziali; segreto; segreti; parola d ordine; codice segreto; token",
    ),
    (C::Hidden, "nascost*; segret*; riservat*; confidenzial*; interno; interne; interni"),
    (
        C::Role,
        "{ora,adesso,da adesso,da ora} {sei,sarai}; {sei,sarai} {ora,adesso}; agisci come; comportati {come,da}; fingi; fai finta; immagina di essere; rispondi come; interpreta; fai la parte; come assistente; simula",
    ),
    (C::FromNowOn, "d ora in poi; da ora in poi; da adesso; da questo momento"),
    (C::NoLonger, "non sei piu; non siete piu"),
    (
        C::Unrestricted,
        "senza {restrizioni,restrizione,limiti,limite,filtri,filtro,censura,regole,limitazioni,vincoli,alcuna restrizione,alcun filtro}; {nessuna,nessun} {restrizione,filtro,limite,regola}; illimitat*; non censurat*; non filtrat*",
    ),
    (C::NoRefusal, "non {rifiutare,rifiutarti} {mai,}; senza {avvisi,avvertenze,esitare}; obbedisci"),
    (C::Mode, "modalita {sviluppatore,sviluppo,admin,amministratore,debug,manutenzione,dio,test,libera}"),
    (C::Enable, "attiva; entra in; passa a; in"),
    (C::Model, "ia; ai; assistente; chatbot; modello linguistico; intelligenza artificiale"),
    (
        C::Authority,
        "sono {il tuo,l,il} {sviluppatore,amministratore,creatore,capo,proprietario}; come tuo {sviluppatore,amministratore}",
    ),
    (C::Official, "dall amministratore; dal {sistema,team di sicurezza}"),
    (
        C::NoteToModel,
        "{nota,messaggio,istruzione,attenzione} {per,all,a} {l,ogni,ia,gli} {ia,assistente,modello,assistenti}; se sei {una ia,un ai,un modello,un assistente}; nota di sistema",
    ),
    (C::BeforeAnswer, "prima di {rispondere,continuare,procedere}"),
    (C::InYourAnswer, "{nella,alla fine della} {tua,} {risposta,sintesi}"),
    (C::OnlySay, "{rispondi,di,scrivi} {solo,soltanto,solamente,unicamente}; nient altro"),
    (C::Send, "invia; inviare; manda; inoltra; trasmetti; carica; spedisci"),
    (
        C::PrivateData,
        "cronologia; {dati,elenco,lista} {dei clienti,clienti,personali,riservati,degli utenti,privati}; conversazione",
    ),
    (C::Outside, "{indirizzo,server} esterno; esterno; attaccante"),
    (C::Destroy, "cancella; elimina; distruggi"),
    (C::Stored, "{tutti,tutte,i,le} {i,le,} {file,record,dati,tabelle,messaggi,righe}"),
    (C::Negation, "non; mai; evitare"),
    (C::HowTo, "come {posso,si,devo,faccio}; devo; posso; perche"),
    (
        C::Mention,
        "cosa significa; che significa; significato; esempio; ad esempio; spiega; spiegami; la frase; attacco; attacchi",
    ),
    (C::About, "email; e mail; mail; messaggio; ordine; riguardo"),
];

pub(super) static PORTUGUESE: &[(Concept, &str)] = &[
    (
        C::Override,
        "ignore; ignora; ignorar; ignorem; esqueca; esquece; esquecer; desconsidere; desconsidera; desconsiderar; despreze; descarte; nao {siga,sigas,obedeca,respeite,leve em conta}; pare de {seguir,obedecer}; deixe de {seguir,lado}; contorne; burle; desative; anule; cancele; pule; sobreponha; apague; remova; elimine",
    ),
    (
        C::Prior,
        "anterior; anteriores; previa; previas; previos; acima; antes; inicial; iniciais; precedentes; ate agora; originais; original; existentes; recebidas",
    ),
    (
        C::Given,
        "que {voce,lhe,te} {recebeu,deram,foram dadas,foi dado,disseram,sabe,aprendeu}; que lhe {foram,foi} {dadas,dito}; te {disseram,deram}; foi dito; foram dadas",
    ),
    (
        C::Instruction,
        "instrucao; instrucoes; diretriz; diretrizes; regras; regra; restricoes; orientacoes; filtros; limitacoes; normas; politicas de {conteudo,seguranca}; configuracoes de seguranca; comandos",
    ),
    (
        C::InstructionWeak,
        "ordens; mensagens; texto; contexto; conversa; tarefas; tarefa; limites; prompts; prompt",
    ),
    (C::All, "todas; todos; toda; todo; qualquer; cada"),
    (C::Everything, "tudo {o que,que,}"),
    (C::Your, "seu; sua; seus; suas; teu; tua; teus; tuas"),
    (C::You, "voce; tu; vc"),
    (
        C::Void,
        "nao {se aplicam,valem,sao,contam,se aplica,vale} {mais,validas,}; {estao,foram,sao,esta} {canceladas,anuladas,desativadas,suspensas,invalidas,nulas,revogadas,desativada}",
    ),
    (
        C::NewInstruction,
        "nova{,s} {instrucao,instrucoes,tarefa,ordens,diretrizes,missao,regras}; novo comando; verdadeira {tarefa,missao}",
    ),
    (C::Instead, "em vez disso; ao inves disso; de agora em diante; e {diga,mostre,escreva,me}"),
    (C::StopCurrent, "pare o que {esta,voce esta} fazendo; pare tudo; largue tudo"),
    (
        C::Reveal,
        "mostre; mostra; mostre me; revele; revela; me {diga,mostre,de,conte}; diga; diga me; imprima; exiba; repita; escreva; liste; divulgue; compartilhe; forneca; copie; informe",
    ),
    (C::Leak, "vaze; exfiltre; colete; roube; reuna"),
    (
        C::SystemPrompt,
        "prompt {do sistema,de sistema,inicial,oculto,original}; mensagem {do,de} sistema; instrucoes {do sistema,de sistema,iniciais,ocultas,secretas,internas,originais}; {seu,sua,seus,suas,teu,tuas} {prompt,instrucoes,diretrizes,regras,configuracao}",
    ),
    (C::TextAbove, "texto {acima,anterior}; no {inicio,comeco} {desta,da} conversa; o que esta acima"),
    (C::WhatIs, "qual e; quais sao; o que diz"),
    (C::Verbatim, "palavra por palavra; literalmente; textualmente; na integra"),
    (
        C::Secret,
        "senha; senhas; chave {secreta,api,de api,}; credenciais; segredo; segredos; codigo secreto; token",
    ),
    (C::Hidden, "ocult*; secret*; confidencia*; interno; internas; internos; escondid*"),
    (
        C::Role,
        "{agora,a partir de agora} {voce e,voce sera,es}; voce {agora e,e agora}; aja como; atue como; finja; faca de conta; comporte se; imagine que voce; responda como; faca o papel; simule; assuma o papel",
    ),
    (C::FromNowOn, "a partir de agora; de agora em diante; daqui em diante; a partir deste momento"),
    (C::NoLonger, "voce nao e mais; nao es mais"),
    (
        C::Unrestricted,
        "sem {restricoes,restricao,limites,limite,filtros,filtro,censura,regras,limitacoes,nenhuma restricao,nenhum filtro}; {nenhuma,nao tem} {restricao,restricoes,regra,regras,limites}; ilimitado; qualquer coisa",
    ),
    (C::NoRefusal, "nunca {recuse,se recuse}; nao {recuse,se recuse}; sem {avisos,hesitar}; obedeca"),
    (C::Mode, "modo {desenvolvedor,admin,administrador,depuracao,manutencao,deus,teste,livre}"),
    (C::Enable, "ative; ativa; entre {no,em}; mude para; no"),
    (C::Model, "ia; assistente; chatbot; modelo de linguagem; inteligencia artificial; robo"),
    (
        C::Authority,
        "{eu sou,sou} {o,seu,o seu} {desenvolvedor,administrador,criador,chefe,dono,programador}; como seu {desenvolvedor,administrador}",
    ),
    (C::Official, "do {administrador,desenvolvedor,sistema}; da {equipe de seguranca,administracao}"),
    (
        C::NoteToModel,
        "{nota,mensagem,instrucao,atencao} {para,a,ao} {a,o,qualquer,toda,os} {ia,assistente,modelo}; se voce {e,for} {uma ia,um modelo,um assistente}",
    ),
    (C::BeforeAnswer, "antes de {responder,continuar,resumir}"),
    (C::InYourAnswer, "{na,no final da,em} {sua,cada} {resposta}"),
    (
        C::OnlySay,
        "{responda,diga,escreva} {apenas,somente,so}; {apenas,somente,so} {diga,responda,escreva}; nada mais",
    ),
    (C::Send, "envie; enviar; mande; encaminhe; transmita; carregue"),
    (
        C::PrivateData,
        "historico {da conversa,do chat,}; {dados,lista,registros} {de clientes,dos clientes,pessoais,confidenciais,de usuarios,privados}; conversa",
    ),
    (C::Outside, "{endereco,servidor} externo; externo; atacante"),
    (C::Destroy, "apague; exclua; delete; elimine; destrua"),
    (C::Stored, "{todos,todas,os,as} {os,as,} {arquivos,registros,dados,tabelas,mensagens,contas}"),
    (C::Negation, "nao; nunca; evitar"),
    (C::HowTo, "como {posso,se,devo,faco,eu}; devo; posso; por que"),
    (
        C::Mention,
        "o que significa; significado; exemplo; por exemplo; explique; a frase; ataque*; injecao de prompt",
    ),
    (C::About, "email; e mail; mensagem; sobre; pedido"),
];

pub(super) static DUTCH: &[(Concept, &str)] = &[
    (
        C::Override,
        "negeer; negeren; vergeet; vergeten; omzeil; sla over; volg {niet,geen,niet langer}; houd {je,u} niet {meer,} aan; stop met {volgen,het volgen}; schakel; laat {alle,alles}; overschrijf; wis; verwijder; annuleer; trek je niets aan van",
    ),
    (
        C::Prior,
        "vorig*; eerder*; voorgaand*; voorafgaand*; bovenstaand*; hierboven; oorspronkelijk*; daarvoor; tot nu toe; bestaand*; ontvangen",
    ),
    (
        C::Given,
        "{je,jou,u} {verteld,gegeven,gezegd,hebt gekregen,kreeg,gekregen,weet}; je is {verteld,gezegd,opgedragen}",
    ),
    (
        C::Instruction,
        "instructie; instructies; richtlijn; richtlijnen; regels; aanwijzing*; beperking*; restricties; filters; voorschriften; veiligheids*; systeemprompt*",
    ),
    (
        C::InstructionWeak,
        "opdracht; opdrachten; bevelen; berichten; tekst; context; gesprek; taken; taak; prompt; prompts; regel",
    ),
    (C::All, "alle; al; elke; ieder*"),
    (C::Everything, "alles"),
    (C::Your, "je; jouw; uw"),
    (C::You, "je; jij; jou; u"),
    (
        C::Void,
        "{gelden,geldt} niet {meer,langer,}; {zijn,is} {ongeldig,vervallen,geannuleerd,uitgeschakeld,opgeheven,nietig,niet meer geldig}",
    ),
    (
        C::NewInstruction,
        "nieuwe {instructie,instructies,opdracht,opdrachten,taak,taken,regels,richtlijnen}; {echte,werkelijke} {taak,opdracht}",
    ),
    (C::Instead, "in plaats daarvan; vanaf nu; en {zeg,geef,toon}"),
    (C::StopCurrent, "stop met {wat je doet,alles}; laat alles vallen"),
    (
        C::Reveal,
        "toon; laat zien; laat; geef; geef me; onthul; vertel; vertel me; zeg; print; herhaal; schrijf; druk af; deel; noem; lijst; openbaar",
    ),
    (
        C::SystemPrompt,
        "systeemprompt*; systeeminstructie*; systeembericht; {je,jouw,uw} {instructies,prompt,richtlijnen,regels,oorspronkelijke instructies,verborgen instructies,systeemprompt,systeeminstructies}; {verborgen,geheime,interne} {instructies,prompt}",
    ),
    (C::WhatIs, "wat {is,zijn,was,staat}; wat zijn"),
    (C::Verbatim, "woord voor woord; letterlijk; volledig"),
    (
        C::Secret,
        "wachtwoord; wachtwoorden; sleutel; geheime sleutel; api sleutel; inloggegevens; geheim; geheimen; toegangscode",
    ),
    (C::Hidden, "verborgen; geheim*; vertrouwelijk*; interne"),
    (
        C::Role,
        "je bent {nu,vanaf nu}; u bent nu; doe alsof; gedraag je als; speel de rol; stel je voor; antwoord als; treed op als",
    ),
    (C::FromNowOn, "vanaf nu; van nu af aan; voortaan"),
    (C::NoLonger, "je bent {niet langer,geen} {,meer,een,gebonden}"),
    (
        C::Unrestricted,
        "{zonder,geen} {beperkingen,beperking,regels,filters,filter,grenzen,limieten,censuur,restricties}; onbeperkt*; ongefilterd*; ongecensureerd*",
    ),
    (
        C::Mode,
        "{ontwikkelaars,ontwikkelaar,admin,debug,onderhouds,god}modus; {ontwikkelaars,ontwikkelaar,admin,debug} modus",
    ),
    (C::Enable, "activeer; ga naar; schakel over; in; start"),
    (C::Model, "ai; assistent; chatbot; taalmodel; kunstmatige intelligentie"),
    (C::Authority, "ik ben {je,jouw,de,uw} {ontwikkelaar,beheerder,maker,baas,eigenaar}"),
    (
        C::NoteToModel,
        "{opmerking,bericht,instructie,let op} {aan,voor} {de,elke,alle} {ai,assistent,chatbot,taalmodel}; als je een {ai,taalmodel,assistent} bent",
    ),
    (C::BeforeAnswer, "voordat je {antwoordt,verder gaat}"),
    (C::OnlySay, "{antwoord,zeg,schrijf} {alleen,enkel,slechts,uitsluitend}; niets anders"),
    (C::Send, "stuur; verstuur; verzend; mail; upload; zend"),
    (
        C::PrivateData,
        "chatgeschiedenis; gespreksgeschiedenis; klantgegevens; klantenlijst; {vertrouwelijke,persoonlijke,interne} gegevens; gesprek",
    ),
    (C::Destroy, "verwijder; wis; vernietig"),
    (C::Stored, "{alle,de} {bestanden,records,gegevens,tabellen,berichten}"),
    (C::Negation, "niet; geen; nooit"),
    (C::HowTo, "hoe {kan,moet,kun} {ik,je,we}; moet ik; mag ik; kan ik; waarom"),
    (C::Mention, "wat betekent; betekenis; voorbeeld; bijvoorbeeld; leg uit; de zin; aanval*"),
    (C::About, "e mail; mail; email; bericht; over; bestelling; offerte"),
];

pub(super) static POLISH: &[(Concept, &str)] = &[
    (
        C::Override,
        "zignoruj*; ignoruj*; zapomnij*; pomin*; nie {przestrzegaj,stosuj,sluchaj,wykonuj}; przestan {przestrzegac,stosowac,sluchac}; obejdz; odrzuc; wylacz; anuluj; zlekcewaz*; lekcewaz*; porzuc; usun; nie zwazaj",
    ),
    (
        C::Prior,
        "poprzedni*; wczesniejsz*; powyzsz*; dotychczas*; pierwotn*; wczesniej; przedtem; powyzej; otrzyman*; uprzedni*",
    ),
    (
        C::Given,
        "{co,ktore,jakie} {ci,tobie} {powiedziano,dano,przekazano}; {ci,tobie} {powiedziano,powiedzial*}; {otrzymales,dostales}",
    ),
    (
        C::Instruction,
        "instrukcj*; wytyczn*; polecen*; zasad*; regul*; ograniczen*; dyrektyw*; zabezpiecze*; filtr*; wskazow*",
    ),
    (C::InstructionWeak, "rozkaz*; komend*; wiadomosc*; tekst*; kontekst*; zadan*; rozmow*; prompt*"),
    (C::All, "wszystki*; kazd*; cal*"),
    (C::Everything, "wszystko; o wszystkim"),
    (C::Your, "swoj*; twoj*; twoich; swoich"),
    (C::You, "ty; ci; ciebie"),
    (
        C::Void,
        "{nie,juz nie} {obowiazuj*,dzialaj*,maja znaczenia,licza sie}; {sa,zostaly,jest} {anulowane,niewazne,wylaczone,zawieszone,uchylone,wylaczona}",
    ),
    (
        C::NewInstruction,
        "now{e,a,y} {instrukcj*,zadanie,polecenie,polecenia,zasady,wytyczne}; prawdziwe zadanie",
    ),
    (C::Instead, "zamiast tego; od teraz"),
    (C::StopCurrent, "przestan robic; przerwij {wszystko,to}; zatrzymaj sie"),
    (
        C::Reveal,
        "pokaz; ujawnij; wyswietl; podaj; powiedz; wypisz; wydrukuj; powtorz; zdradz; wymien; udostepnij; napisz",
    ),
    (
        C::SystemPrompt,
        "{prompt*,instrukcj*,wiadomosc*,polecen*} {systemow*,poczatkow*,ukryt*,wewnetrzn*}; systemow* {prompt*,instrukcj*}; {swoj*,twoj*} {prompt*,instrukcj*,wytyczn*,zasad*}",
    ),
    (C::WhatIs, "jaki jest; jakie sa; jaka jest; co {mowi,zawiera}"),
    (C::Verbatim, "slowo w slowo; doslownie"),
    (C::Secret, "haslo; hasla; hasel; klucz*; tajn*; sekret*; poufn*; dane logowania"),
    (C::Hidden, "ukryt*; tajn*; poufn*; wewnetrzn*"),
    (
        C::Role,
        "{jestes,bedziesz} {teraz,od teraz}; {teraz,od teraz} {jestes,bedziesz,dzialasz}; udawaj*; zachowuj sie jak; wciel sie; odgrywaj; wyobraz sobie; dzialaj jak; odpowiadaj jak",
    ),
    (C::FromNowOn, "od teraz; od tej pory; od tego momentu"),
    (C::NoLonger, "nie jestes juz; juz nie jestes"),
    (
        C::Unrestricted,
        "bez {ogranicz*,zadnych ogranicz*,filtr*,zadnych filtr*,cenzur*,zasad,regul,limit*}; nieograniczon*; nieocenzurowan*",
    ),
    (C::Mode, "tryb* {deweloper*,programist*,administrator*,debugowan*,boga,serwisow*}"),
    (C::Enable, "wlacz; aktywuj; przejdz; wejdz; uruchom"),
    (C::Model, "ai; asystent*; chatbot*; model* jezykow*; sztuczn* inteligencj*"),
    (
        C::Authority,
        "jestem {twoim,twoj,administratorem,programista,tworca} {tworca,programista,administratorem,szefem,deweloperem,systemu,}",
    ),
    (C::BeforeAnswer, "zanim odpowiesz; przed udzieleniem odpowiedzi"),
    (C::OnlySay, "{odpowiedz,odpowiadaj,napisz,powiedz} {tylko,wylacznie,jedynie}; nic wiecej"),
    (C::Send, "wyslij; przeslij; przekaz"),
    (
        C::PrivateData,
        "histori* {czatu,rozmowy,rozmow}; {dane,liste,lista} klientow; dane {osobowe,klientow,uzytkownik*}",
    ),
    (C::Destroy, "usun; skasuj; wyczysc"),
    (C::Stored, "wszystkie {pliki,rekordy,dane,tabele}"),
    (C::Negation, "nie; nigdy"),
    (C::HowTo, "jak {moge,mozna,mam}; czy {moge,powinienem}; dlaczego"),
    (C::Mention, "co {oznacza,znaczy}; znaczenie; przyklad*; na przyklad; wyjasnij; atak*"),
    (C::About, "mail*; e mail; wiadomosc; zamowien*"),
];

pub(super) static OTHER: &[(Concept, &str)] = &[
    // Turkish.
    (
        C::Override,
        "yok say; yoksay; gormezden gel; goz ardi et; unut; unutun; dikkate alma; gecersiz kil; uyma; atla; bosver; devre disi birak; iptal et; takip etme",
    ),
    (C::Prior, "onceki; yukaridaki; daha onceki; evvelki; ilk; simdiye kadar; mevcut; bundan onceki; eski"),
    (
        C::Instruction,
        "talimat*; yonerge*; kural*; kisitlama*; direktif*; komut*; guvenlik ayar*; filtre*; sinirlama*",
    ),
    (C::All, "tum; butun; her; hepsini"),
    (C::Everything, "her seyi; hersey*; her sey"),
    (C::Your, "sana; senin; verilen"),
    (C::Reveal, "goster; yazdir; soyle; acikla; ver; paylas; ifsa et; listele; tekrarla; yaz; ortaya cikar"),
    (
        C::SystemPrompt,
        "sistem {istemi*,komut*,prompt*,mesaj*,talimat*,yonerge*}; gizli talimat*; {ilk,baslangic} {talimat*,komut*}; sistem istem*",
    ),
    (C::Secret, "sifre*; parola*; gizli anahtar*; api anahtar*"),
    (
        C::Role,
        "{artik,simdi,bundan sonra} {sen,bir}; gibi davran; rolunu ustlen; rol yap; gibi yap; farz et; artik sen",
    ),
    (C::FromNowOn, "bundan sonra; su andan itibaren; artik"),
    (
        C::Unrestricted,
        "{sinirsiz,kisitlamasiz,filtresiz,sansursuz,kuralsiz}; {kisitlama*,kural*,sinir*,filtre*} {olmayan,yok,olmadan}",
    ),
    (C::NewInstruction, "yeni {talimat*,gorev*,komut*,yonerge*,kural*}"),
    (C::Mode, "gelistirici mod*; yonetici mod*; hata ayiklama mod*"),
    (C::Enable, "gec; etkinlestir; gir; aktif et"),
    (C::Send, "gonder; ilet; yolla"),
    (C::PrivateData, "sohbet gecmis*; konusma gecmis*; musteri {liste*,veri*,bilgi*}"),
    // Swedish, Danish, Norwegian.
    (
        C::Override,
        "ignorera; glom; bortse fran; strunta i; ignorer; glem; se bort fra; overse; folj inte; folg ikke; folg inte; hoppa over; asidosatt; stang av; sla av",
    ),
    (
        C::Prior,
        "tidigare; foregaende; ovanstaende; forra; tidligere; forrige; foregaende; ovenstaende; opprinnelige; oprindelige; ursprungliga; hidtil; hittills",
    ),
    (
        C::Instruction,
        "instruktioner; instruktionerna; instruktionerne; instruksjoner; instruksjonene; anvisningar; riktlinjer; riktlinjerna; retningslinjer; retningslinjene; retningslinjerne; instrukser; begransningar; begrensninger; systemprompt*",
    ),
    (
        C::InstructionWeak,
        "regler; reglerna; reglerne; reglene; order; ordrer; beskjeder; beskeder; meddelanden; oppgaver; uppgifter",
    ),
    (C::All, "alla; alle; samtliga; samtlige"),
    (C::Everything, "allt; alt"),
    (C::Your, "dina; din; ditt; dine; dit"),
    (
        C::Reveal,
        "visa; visa mig; avsloja; vis; vis mig; vis meg; afslor; avslor; skriv ut; skriv; beratta; fortel; fortell; gentag; gjenta; upprepa; ge mig; giv mig; gi meg",
    ),
    (
        C::SystemPrompt,
        "systemprompt*; systeminstruk*; systemmeddelande*; {dina,dine,din} {instruktioner,instruksjoner,prompt,regler,riktlinjer,retningslinjer,hemmelige instruktioner}",
    ),
    (
        C::Secret,
        "losenord*; adgangskode*; passord*; hemlig nyckel; hemmelig nokkel; hemmelige nogle; api nyckel",
    ),
    (
        C::Role,
        "du ar nu; du er nu; du er na; lat som; lad som; late som; spela rollen; agera som; opfor dig som; oppfor deg som; fra nu af er du; fra na av er du",
    ),
    (C::FromNowOn, "fran och med nu; fra nu af; fra na av; fran nu"),
    (
        C::Unrestricted,
        "{utan,uden,uten,inga,ingen} {begransningar,begraensninger,begrensninger,regler,filter,filtre,restriktioner,restriksjoner,censur,sensur,granser,graenser,grenser}; obegransad; ubegraenset; ubegrenset; ocensurerad; ufiltrert; ufiltreret",
    ),
    (
        C::NewInstruction,
        "nya {instruktioner,order,uppgifter}; ny {uppgift,opgave,oppgave}; nye {instruktioner,instruksjoner,ordrer,regler}",
    ),
    // Czech, Slovak, Croatian, Serbian (Latin), Romanian, Hungarian, Finnish.
    (
        C::Override,
        "ignoruj; ignorujte; zapomen; zapomente; zabudni; nedbej na; zanemari; zanemarite; zaboravi; zaboravite; ignorirajte; ignoriraj; ignora; ignorati; uita; neglijeaza; hagyd figyelmen kivul; felejtsd el; hagyja figyelmen kivul; unohda; jata huomiotta; ohita; sivuuta; nesleduj; ne prati; obidi",
    ),
    (
        C::Prior,
        "predchozi; predesl*; predoslych; predchadzajuc*; vyse uveden*; prethodn*; ranij*; gornj*; anterioare; precedente; de mai sus; korabbi; elozo; fenti; aiempi; aiemmat; edelliset; edeltavat; ylla olevat; puvodni",
    ),
    (
        C::Instruction,
        "instrukce; instrukci; pokyny; pokynu; pokynov; pravidla; instrukcije; upute; uputstva; pravila; smernice; instructiunile; instructiuni; regulile; indicatiile; utasitas*; szabaly*; iranyelv*; ohjeet; ohjeita; saannot; omezeni; ogranicenja",
    ),
    (C::All, "vsechny; vsech; vsetky; sve; sva; svih; toate; osszes; minden; kaikki; kaikkia"),
    (C::Everything, "vse; vsechno; vsetko; tot ce; mindent; kaiken"),
    (C::Your, "sve; svoje; tve; tvoje; tvoj; tale; tau; sinun"),
    (
        C::Reveal,
        "ukaz; zobraz; vypis; prozrad; rekni; povedz; pokazi; prikazi; otkrij; reci; ispisi; arata; afiseaza; dezvaluie; spune; mutasd; add meg; ird ki; fedd fel; nayta; paljasta; kerro; tulosta",
    ),
    (
        C::SystemPrompt,
        "systemov* {prompt*,pokyn*,instrukc*,zprav*}; sistemsk* {prompt*,upit*,uput*,poruk*,instrukcij*}; promptul {de sistem,tau,initial}; {instructiunile,mesajul} {de sistem,tale,initiale}; rendszerprompt*; rendszeruzenet*; rendszerutasitas*; jarjestelmakehote*; jarjestelmaohje*; jarjestelmakehotteesi; tvoj prompt",
    ),
    (
        C::Secret,
        "heslo; hesla; lozink*; zaporka; sifra; parola; parole; jelszo; jelszav*; salasana*; cheia api; cheia secreta; tajny kluc; tajni kljuc",
    ),
    (
        C::Role,
        "{nyni,ted,teraz,sada} {jsi,si}; jsi nyni; chovej se jako; predstirej; pretvaraj se; ponasaj se kao; glumi; {acum,de acum} {esti,vei fi}; prefa te; comporta te ca; mostantol; viselkedj ugy; tegyel ugy; olet nyt; esita; kayttaydy kuin; teeskentele",
    ),
    (
        C::Unrestricted,
        "bez {omezeni,obmedzeni,ogranicenja,pravidel,pravila,filtru,filtera,cenzury,cenzure}; fara {restrictii,limite,filtre,reguli,cenzura}; {korlatozas*,szabaly*,korlatok} nelkul; korlatlan; {ilman,vailla} {rajoituksia,saantoja,sensuuria}; rajoittamaton",
    ),
    (
        C::NewInstruction,
        "nove {pokyny,instrukce,instrukcije,upute}; novi {zadatak,nalog}; noi instructiuni; {uj,ujabb} {utasitas*,feladat*}; {uudet,uusi} {ohjeet,tehtava}",
    ),
    (C::FromNowOn, "od nynejska; odteraz; od sada; odsad; de acum inainte; mostantol; tasta lahtien"),
    // Indonesian, Malay, Vietnamese, Filipino, Swahili.
    (
        C::Override,
        "abaikan; lupakan; jangan ikuti; kesampingkan; bo qua; quen; phot lo; dung {tuan theo,lam theo}; huwag pansinin; balewalain; kalimutan; puuza; sahau",
    ),
    (
        C::Prior,
        "sebelumnya; di atas; terdahulu; sebelum ini; truoc do; truoc day; o tren; truoc; nakaraang; naunang; ya awali; zilizotangulia; zilizopita; sudah diberikan",
    ),
    (
        C::Instruction,
        "instruksi; arahan; aturan; perintah; pedoman; panduan; peraturan; batasan; huong dan; chi dan; quy tac; quy dinh; chi thi; lenh; mga tagubilin; mga panuto; tagubilin; maagizo; maelekezo; sheria",
    ),
    (C::All, "semua; seluruh; segala; tat ca; moi; toan bo; lahat ng; yote; zote"),
    (C::Everything, "semuanya; moi thu; lahat"),
    (C::Your, "anda; kamu; mu; kau; cua ban; iyong; mo; yako"),
    (
        C::Reveal,
        "tampilkan; tunjukkan; ungkapkan; beritahu; cetak; sebutkan; bocorkan; dedahkan; hien thi; cho toi {biet,xem}; tiet lo; in ra; cho biet; ipakita; ibunyag; sabihin; onyesha; fichua; niambie",
    ),
    (
        C::SystemPrompt,
        "{prompt,perintah,instruksi,pesan,arahan} {sistem,awal,tersembunyi,rahasia}; loi nhac he thong; {prompt,huong dan,cau lenh,thong diep} he thong; system prompt; maagizo ya mfumo",
    ),
    (
        C::Secret,
        "kata sandi; kata laluan; sandi; kunci {api,rahasia,rahsia}; mat khau; khoa {api,bi mat}; nenosiri",
    ),
    (
        C::Role,
        "{sekarang,mulai sekarang} {anda,kamu}; {anda,kamu} {sekarang,kini} adalah; berpura pura; bertindak sebagai; berperan sebagai; bay gio ban la; ban {bay gio la,la}; dong vai; gia vo; hay hanh dong nhu; ngayon ikaw ay; magpanggap; jifanye",
    ),
    (
        C::Unrestricted,
        "tanpa {batasan,batas,filter,sensor,aturan,sekatan,had}; khong {gioi han,han che,bi gioi han,kiem duyet,bo loc}; walang {limitasyon,hangganan,filter}; bila {vikwazo,mipaka}",
    ),
    (
        C::NewInstruction,
        "{instruksi,perintah,arahan,tugas} baru; {huong dan,chi thi,nhiem vu,lenh} moi; maagizo mapya",
    ),
    (C::FromNowOn, "mulai sekarang; tu gio; tu bay gio; ke tu bay gio; mula sa ngayon; kuanzia sasa"),
];
